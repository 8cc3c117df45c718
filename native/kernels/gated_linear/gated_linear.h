// The first half of a gated feed-forward block in one pass over the tokens: y = activation(x G + gate_bias) * (x U + up_bias).
// On CUDA: libtorch's products and geglu.
// Made of: matmul, linear, geglu.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

struct GatedWeights {
  at::Tensor gate, up;            // [intermediate, in]
  at::Tensor gate_bias, up_bias;  // [intermediate] or undefined
};

// x [tokens, in], all of one dtype, fp32 | bf16 -> [tokens, intermediate]. Differentiable in x and all weights.
at::Tensor gated_linear(const at::Tensor& x, const GatedWeights& weights, Activation activation);
at::Tensor gated_linear_reference(const at::Tensor& x, const GatedWeights& weights, Activation activation);

}  // namespace prudent::kernels
