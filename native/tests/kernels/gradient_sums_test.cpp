#include "kernels/common/gradient_sums.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <doctest/doctest.h>

#include "kernels/gated_linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/op_check.h"
#include "kernels/token_logprob/token_logprob.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::ActiveGradientSums;
using kernels::GradientSum;
using kernels::GradientSums;
using kernels::WeightLayout;

// An operation of x [17, 33] and one weight.
struct Case {
  const char* name;
  std::vector<int64_t> weight_shape;
  std::function<at::Tensor(const at::Tensor& x, const at::Tensor& weight)> run;
};

std::vector<Case> cases() {
  const at::Tensor targets = at::tensor({3, 0, 1, 2, 49, 48, 7, 7, 7, 12, 13, 14, 15, 16, 17, 18, 19}, at::kLong);
  const at::Tensor up = normal({50, 33}, 9, 0.2);
  return {
      {"linear", {50, 33}, [](const at::Tensor& x, const at::Tensor& w) { return kernels::linear(x, w); }},
      {"linear in-out",
       {33, 50},
       [](const at::Tensor& x, const at::Tensor& w) {
         return kernels::linear(x, w, {.layout = WeightLayout::InOut, .activation = kernels::Activation::GeluTanh});
       }},
      {"gated_linear",
       {50, 33},
       [=](const at::Tensor& x, const at::Tensor& w) {
         return kernels::gated_linear(x, {.gate = w, .up = up.to(w.scalar_type())}, kernels::Activation::Silu);
       }},
      {"token_logprob",
       {50, 33},
       [=](const at::Tensor& x, const at::Tensor& w) {
         return kernels::token_logprob(x, w, std::nullopt, targets, false).logprobs;
       }},
  };
}

// Gradient of the weight over three backwards: what its sum took and what autograd kept.
at::Tensor summed_gradient(const Case& c, at::ScalarType dtype, bool active, uint64_t first_seed = 1) {
  const at::Tensor weight = normal(c.weight_shape, 5, 0.3).to(dtype).requires_grad_();
  GradientSum sum(weight, at::kFloat);
  const GradientSums sums{{weight.unsafeGetTensorImpl(), &sum}}, none;
  for (uint64_t seed = first_seed; seed < first_seed + 3; ++seed) {
    const ActiveGradientSums scope(active ? sums : none);
    const at::Tensor y = c.run(normal({17, 33}, seed).to(dtype), weight);
    y.backward(normal(y.sizes(), seed + 10).to(y.scalar_type()));
  }
  at::Tensor total = at::zeros_like(weight, at::kFloat);
  if (sum.values().defined()) total += sum.values();
  if (weight.grad().defined()) total += weight.grad();
  return total.detach();
}

}  // namespace

TEST_CASE("gradient sums: three backwards add up to what autograd adds up") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    const at::Tensor expected = summed_gradient(c, at::kFloat, false);
    CHECK(error_of(summed_gradient(c, at::kFloat, true), expected) < kParityMatmulFp32);
    CHECK(error_of(summed_gradient(c, at::kFloat, true, 2), expected) > kParityMatmulFp32);  // the twin: other inputs
    const double autograd = error_of(summed_gradient(c, at::kBFloat16, false), expected);
    CHECK(error_of(summed_gradient(c, at::kBFloat16, true), expected) <= kBf16Factor * autograd + kBf16Floor);
  }
}

TEST_CASE("gradient sums: autograd gets nothing of a weight whose sum took it, and everything of the others") {
  const at::Tensor targets = at::tensor({1, 0, 2}, at::kLong), x = normal({3, 8}, 1);
  const at::Tensor taken = normal({4, 8}, 2).requires_grad_(), other = normal({4, 8}, 2).requires_grad_();
  GradientSum sum(taken, at::kFloat);
  const GradientSums sums{{taken.unsafeGetTensorImpl(), &sum}};
  const auto backward = [&](const at::Tensor& weight) {
    kernels::token_logprob(x, weight, std::nullopt, targets, false).logprobs.sum().backward();
  };
  {
    const ActiveGradientSums scope(sums);
    backward(taken);
    backward(other);
  }
  CHECK_FALSE(taken.grad().defined());
  CHECK(sum.values().equal(other.grad()));
  backward(taken);  // the sums are no longer active
  CHECK(taken.grad().equal(other.grad()));
}

TEST_CASE("gradient sums: what is added from outside, in bf16 too, and to single rows") {
  const at::Tensor part = normal({2, 3}, 2).to(at::kBFloat16);
  GradientSum sum(part, at::kFloat);
  CHECK_FALSE(sum.values().defined());
  sum.add(part);
  sum.add(part);
  CHECK(sum.values().equal(part.to(at::kFloat) * 2));
  sum.opened()[1] += 1;
  CHECK(sum.values().equal(part.to(at::kFloat) * 2 + at::tensor({0.0f, 1.0f}).unsqueeze(1)));
  GradientSum narrow(part, at::kBFloat16);
  CHECK(narrow.opened().equal(at::zeros_like(part)));
  narrow.add(part);
  CHECK(narrow.values().equal(part));
}

TEST_CASE("gradient sums: of bf16, a second product is added to the first") {
  const at::Tensor left = normal({5, 7}, 1).to(at::kBFloat16), right = normal({7, 3}, 2).to(at::kBFloat16);
  GradientSum sum(normal({5, 3}, 3), at::kBFloat16);
  sum.add_product(left, right);
  const at::Tensor once = sum.values().clone();
  sum.add_product(left, right);
  CHECK(sum.values().equal(once + once));
}

}  // namespace prudent::tests
