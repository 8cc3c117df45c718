#include "kernels/gated_linear/gated_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include "kernels/linear/linear.h"
#include "kernels/op_check.h"
#include "support/allocation_peak.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
using kernels::GatedWeights;

GatedWeights weights_of(const Tensors& in) {
  GatedWeights weights{.gate = in[1], .up = in[2]};
  if (in.size() > 3) {
    weights.gate_bias = in[3];
    weights.up_bias = in[4];
  }
  return weights;
}

Function op(Activation activation) {
  return [=](const Tensors& in) { return Tensors{kernels::gated_linear(in[0], weights_of(in), activation)}; };
}
Function reference(Activation activation) {
  return [=](const Tensors& in) { return Tensors{kernels::gated_linear_reference(in[0], weights_of(in), activation)}; };
}

Tensors inputs_of(int64_t tokens, int64_t in, int64_t wide, bool bias) {
  Tensors inputs = {normal({tokens, in}, 1), normal({wide, in}, 2, 0.3), normal({wide, in}, 3, 0.3)};
  if (bias) {
    inputs.push_back(normal({wide}, 4));
    inputs.push_back(normal({wide}, 5));
  }
  return inputs;
}

// As above, and the weight, bias and residual of the second projection.
kernels::DownProjection down_of(const Tensors& in) { return {.weight = in[5], .bias = in[6], .residual = in[7]}; }
Tensors feed_forward_inputs(int64_t tokens, int64_t in, int64_t wide, int64_t out) {
  Tensors inputs = inputs_of(tokens, in, wide, true);
  inputs.push_back(normal({out, wide}, 6, 0.3));
  inputs.push_back(normal({out}, 7));
  inputs.push_back(normal({tokens, out}, 8));
  return inputs;
}

}  // namespace

TEST_CASE("gated_linear: parity and gradient over odd shapes") {
  for (const Activation activation : {Activation::GeluTanh, Activation::GeluExact, Activation::Silu}) {
    for (const bool bias : {false, true}) {
      for (const auto& [tokens, in, wide] : {std::tuple(1, 1, 1), {3, 16, 5}, {17, 33, 40}, {50, 70, 104}}) {
        CAPTURE(static_cast<int>(activation));
        CAPTURE(tokens);
        const Tensors inputs = inputs_of(tokens, in, wide, bias);
        check_parity(op(activation), reference(activation), inputs, kParityMatmulFp32);
        check_parity_bf16(op(activation), reference(activation), inputs);
      }
    }
  }
}

TEST_CASE("gated_linear: gradient of the reference against differences") {
  for (const Activation activation : {Activation::GeluTanh, Activation::Silu})
    check_differences(reference(activation), inputs_of(3, 5, 4, true));
}

TEST_CASE("gated_linear: a whole feed-forward block, parity and gradient") {
  for (const Activation activation : {Activation::GeluTanh, Activation::Silu}) {
    const Function block = [=](const Tensors& in) {
      return Tensors{kernels::gated_feed_forward(in[0], weights_of(in), activation, down_of(in))};
    };
    const Function plain = [=](const Tensors& in) {
      return Tensors{kernels::gated_feed_forward_reference(in[0], weights_of(in), activation, down_of(in))};
    };
    for (const auto& [tokens, in, wide, out] : {std::tuple(1, 1, 1, 1), {3, 16, 5, 7}, {40, 33, 64, 20}}) {
      CAPTURE(tokens);
      const Tensors inputs = feed_forward_inputs(tokens, in, wide, out);
      check_parity(block, plain, inputs, kParityMatmulFp32);
    }
  }
}

TEST_CASE("gated_linear: a feed-forward block keeps its two factors for the backward, not their product") {
  const int64_t tokens = 128, wide = 256;  // small enough to be reported
  const Tensors inputs = feed_forward_inputs(tokens, 16, wide, 16);
  inputs[1].requires_grad_(true);
  const at::AutoGradMode with_grad(true);
  const AllocationPeak allocations;
  const at::Tensor y = kernels::gated_feed_forward(inputs[0], weights_of(inputs), Activation::Silu, down_of(inputs));
  const int64_t one = tokens * wide * static_cast<int64_t>(sizeof(float));
  CHECK(allocations.held() >= 2 * one);
  CHECK(allocations.held() < 2 * one + one / 2);
}

// In bf16 the two projections are each held against their reference above and in linear_test.cpp.
TEST_CASE("gated_linear: without a gradient a feed-forward block gives the bits of its two projections") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [tokens, in, wide, out] :
         {std::tuple(1, 40, 32, 5), {31, 7, 96, 33}, {33, 64, 40, 64}, {100, 33, 416, 70}, {4200, 16, 32, 40}}) {
      CAPTURE(tokens);
      Tensors inputs = feed_forward_inputs(tokens, in, wide, out);
      for (at::Tensor& input : inputs) input = input.to(dtype);
      const auto run = [&] {
        return kernels::gated_feed_forward(inputs[0], weights_of(inputs), Activation::GeluTanh, down_of(inputs));
      };
      const at::Tensor wide_rows = kernels::gated_linear(inputs[0], weights_of(inputs), Activation::GeluTanh);
      const at::Tensor expected = kernels::linear(wide_rows, inputs[5], {.bias = inputs[6], .residual = inputs[7]});
      for (int call = 0; call < 3; ++call) CHECK(run().equal(expected));  // weights are kept from the second call on
      inputs[0][tokens - 1][in - 1] += 1.0;
      CHECK_FALSE(run().equal(expected));
    }
  }
}

TEST_CASE("gated_linear: a feed-forward block whose projections do not fit each other") {
  Tensors inputs = feed_forward_inputs(3, 4, 32, 5);
  inputs[5] = normal({5, 31}, 6);
  for (at::Tensor& input : inputs) input = input.to(at::kBFloat16);
  CHECK_THROWS(kernels::gated_feed_forward(inputs[0], weights_of(inputs), Activation::Silu, down_of(inputs)));
}

}  // namespace prudent::tests
