#include "kernels/bradley_terry/bradley_terry.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

double worst(const kernels::BradleyTerry& a, const kernels::BradleyTerry& b) {
  double error = 0.0;
  const auto add = [&](const at::Tensor& x, const at::Tensor& y) { error = std::max(error, error_of(x, y)); };
  add(a.loss, b.loss);
  add(a.loss_per_head, b.loss_per_head);
  add(a.accuracy_per_head, b.accuracy_per_head);
  add(a.grad_chosen * a.grad_chosen.size(0), b.grad_chosen * b.grad_chosen.size(0));
  add(a.grad_rejected * a.grad_chosen.size(0), b.grad_rejected * b.grad_chosen.size(0));
  return error;
}

}  // namespace

TEST_CASE("bradley_terry: parity over odd shapes") {
  for (const auto& [pairs, heads] : {std::pair(1, 1), {1, 10}, {7, 3}, {128, 1}, {129, 10}, {1000, 7}}) {
    CAPTURE(pairs);
    CAPTURE(heads);
    const at::Tensor chosen = normal({pairs, heads}, 1, 3.0), rejected = normal({pairs, heads}, 2, 3.0);
    const auto truth = kernels::bradley_terry_reference(chosen, rejected);
    CHECK(worst(kernels::bradley_terry(chosen, rejected), truth) <= kStatisticFp32);
    at::Tensor moved = chosen.clone();
    moved.select(0, pairs / 2).add_(0.5);
    CHECK(worst(kernels::bradley_terry(moved, rejected), truth) > kStatisticFp32);
  }
}

TEST_CASE("bradley_terry: gradient of the loss node, and of the reference against differences") {
  const Tensors in = {normal({5, 3}, 1), normal({5, 3}, 2)};
  const Function node = [](const Tensors& x) { return Tensors{kernels::bradley_terry_loss(x[0], x[1])}; };
  const Function reference = [](const Tensors& x) { return Tensors{kernels::bradley_terry_reference(x[0], x[1]).loss}; };
  check_parity(node, reference, in, kParityFp32);
  check_differences(reference, in);
}

TEST_CASE("bradley_terry: a tie is not accurate, and its loss is ln 2") {
  const at::Tensor same = normal({4, 2}, 1);
  const auto out = kernels::bradley_terry(same, same);
  CHECK(out.accuracy_per_head.max().item<double>() == 0.0);
  CHECK(std::abs(out.loss.item<double>() - 2.0 * std::log(2.0)) < 1e-6);
  CHECK(error_of(out.grad_chosen, same * 0.0 - 0.125) <= kParityFp32);
}

TEST_CASE("bradley_terry: scores far apart neither overflow nor vanish") {
  const at::Tensor big = normal({1, 1}, 1) * 0.0 + 500.0, small = big * -1.0;
  CHECK(kernels::bradley_terry(small, big).loss.item<double>() == doctest::Approx(1000.0));
  CHECK(kernels::bradley_terry(big, small).loss.item<double>() == 0.0);
  CHECK(kernels::bradley_terry(small, big).grad_chosen.item<double>() == -1.0);
}

TEST_CASE("bradley_terry: wrong arguments are named") {
  CHECK_THROWS_WITH_AS(kernels::bradley_terry(normal({2, 3}, 1), normal({2, 4}, 1)),
                       "rejected: expected shape [2, 3], received Float [2, 4] on cpu", Error);
  CHECK_THROWS_AS(kernels::bradley_terry(normal({0, 3}, 1), normal({0, 3}, 1)), Error);
}

}  // namespace prudent::tests
