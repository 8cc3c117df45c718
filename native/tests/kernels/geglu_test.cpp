#include "kernels/geglu/geglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones_like.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
constexpr Activation kActivations[] = {Activation::GeluTanh, Activation::GeluExact, Activation::Silu};

Function op(Activation activation) {
  return [=](const Tensors& in) { return Tensors{kernels::geglu(in[0], in[1], activation)}; };
}
Function reference(Activation activation) {
  return [=](const Tensors& in) { return Tensors{kernels::geglu_reference(in[0], in[1], activation)}; };
}

}  // namespace

TEST_CASE("geglu: parity and gradient over odd shapes") {
  for (const Activation activation : kActivations) {
    for (const auto& [tokens, size] : {std::pair(1, 1), {1, 5}, {3, 16}, {17, 33}, {100, 200}}) {
      CAPTURE(static_cast<int>(activation));
      CAPTURE(tokens);
      CAPTURE(size);
      const Tensors in = {normal({tokens, size}, 1, 2.0), normal({tokens, size}, 2)};
      check_parity(op(activation), reference(activation), in, kParityFp32);
      check_parity_bf16(op(activation), reference(activation), in);
    }
  }
}

TEST_CASE("geglu: gradient of the reference against differences") {
  for (const Activation activation : kActivations)
    check_differences(reference(activation), {normal({3, 7}, 1), normal({3, 7}, 2)});
}

TEST_CASE("geglu: the whole range of gates, saturated ends included") {
  const at::Tensor gate = at::linspace(-120.0, 120.0, 4801).view({1, 4801}), up = at::ones_like(gate);
  for (const Activation activation : kActivations) {
    const at::Tensor ours = kernels::geglu(gate, up, activation),
                     truth = kernels::geglu_reference(gate.to(at::kDouble), up.to(at::kDouble), activation);
    CHECK((ours.to(at::kDouble) - truth).abs().max().item<double>() <= 1e-5);
    CHECK(ours.isfinite().all().item<bool>());
  }
}

TEST_CASE("geglu: wrong arguments are named") {
  CHECK_THROWS_WITH_AS(kernels::geglu(normal({2, 3}, 1), normal({2, 4}, 1), Activation::Silu),
                       "up: expected shape [2, 3], received Float [2, 4] on cpu", Error);
}

}  // namespace prudent::tests
