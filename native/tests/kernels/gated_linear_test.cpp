#include "kernels/gated_linear/gated_linear.h"

#include <doctest/doctest.h>

#include "kernels/op_check.h"
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

}  // namespace prudent::tests
