#include "kernels/activation_backward/activation_backward.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <optional>
#include <vector>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
using kernels::ActivationBackward;
const std::vector<std::optional<Activation>> kActivations = {Activation::GeluTanh, Activation::GeluExact, Activation::Silu,
                                                             std::nullopt};

double worst(const ActivationBackward& a, const ActivationBackward& b) {
  return std::max(error_of(a.grad_u, b.grad_u), error_of(a.grad_bias, b.grad_bias));
}

}  // namespace

TEST_CASE("activation_backward: parity over odd shapes, with every activation and with none") {
  for (const auto& activation : kActivations) {
    for (const auto& [tokens, size] : {std::pair(1, 1), {1, 5}, {3, 16}, {31, 33}, {32, 64}, {200, 100}}) {
      CAPTURE(tokens);
      CAPTURE(size);
      const at::Tensor grad = normal({tokens, size}, 1), u = normal({tokens, size}, 2, 2.0);
      const ActivationBackward truth = kernels::activation_backward_reference(grad, u, activation, true);
      CHECK(worst(kernels::activation_backward(grad, u, activation, true), truth) <= kParityMatmulFp32);
      at::Tensor moved = grad.clone();
      moved[tokens - 1][size - 1].add_(0.5);
      CHECK(worst(kernels::activation_backward(moved, u * 1.01 + 0.01, activation, true), truth) > kParityMatmulFp32);
      CHECK_FALSE(kernels::activation_backward(grad, u, activation, false).grad_bias.defined());
    }
  }
}

TEST_CASE("activation_backward: parity in bfloat16, error at most twice the reference's") {
  for (const auto& activation : kActivations) {
    const at::Tensor grad = normal({100, 77}, 1).to(at::kBFloat16), u = normal({100, 77}, 2, 2.0).to(at::kBFloat16);
    const ActivationBackward truth =
        kernels::activation_backward_reference(grad.to(at::kFloat), u.to(at::kFloat), activation, true);
    const double theirs = worst(kernels::activation_backward_reference(grad, u, activation, true), truth);
    CHECK(worst(kernels::activation_backward(grad, u, activation, true), truth) <= std::max(kBf16Floor, kBf16Factor * theirs));
    CHECK(worst(kernels::activation_backward(grad * 1.1, u, activation, true), truth) > kBf16Floor);
  }
}

TEST_CASE("activation_backward: saturated inputs and tokens that lie apart") {
  const at::Tensor wide = normal({6, 40}, 5, 40.0), u = wide.narrow(1, 3, 20), grad = normal({20, 6}, 6).t();
  for (const auto& activation : kActivations) {
    const ActivationBackward ours = kernels::activation_backward(grad, u, activation, true);
    CHECK(worst(ours, kernels::activation_backward_reference(grad, u, activation, true)) <= kParityMatmulFp32);
  }
}

TEST_CASE("activation_backward: wrong arguments are named") {
  const at::Tensor grad = normal({2, 3}, 1);
  CHECK_THROWS_WITH_AS(kernels::activation_backward(grad, normal({2, 4}, 1), Activation::Silu, true),
                       "u: expected shape [2, 3], received Float [2, 4] on cpu", Error);
  CHECK_THROWS_AS(kernels::activation_backward(grad, at::Tensor(), Activation::Silu, true), Error);
}

}  // namespace prudent::tests
