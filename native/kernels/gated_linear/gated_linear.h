// The first half of a gated feed-forward block in one pass over the tokens: y = activation(x G + gate_bias) * (x U + up_bias).
// On CUDA: libtorch's products and geglu.
// Made of: matmul, linear, geglu.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

struct Int8Weights;

struct GatedWeights {
  at::Tensor gate, up;                // [intermediate, in]
  at::Tensor gate_bias, up_bias;      // [intermediate] or undefined
  const Int8Weights* int8 = nullptr;  // of up with its gate, as LinearOptions::int8
};

// x [tokens, in], all of one dtype, fp32 | bf16 -> [tokens, intermediate]. Differentiable in x and all weights.
at::Tensor gated_linear(const at::Tensor& x, const GatedWeights& weights, Activation activation);
at::Tensor gated_linear_reference(const at::Tensor& x, const GatedWeights& weights, Activation activation);

// The whole feed-forward block: gated_linear(x, weights, activation) down^T + down_bias + residual; down [out, intermediate],
// residual [tokens, out] or undefined -> [tokens, out]. Differentiable in all of them.
struct DownProjection {
  at::Tensor weight;          // [out, intermediate]
  at::Tensor bias;            // [out] or undefined
  at::Tensor residual;        // [tokens, out] or undefined
  bool value_is_read = true;  // as LinearOptions::value_is_read
  const Int8Weights* int8 = nullptr;
};
at::Tensor gated_feed_forward(const at::Tensor& x, const GatedWeights& weights, Activation activation,
                              const DownProjection& down);
at::Tensor gated_feed_forward_reference(const at::Tensor& x, const GatedWeights& weights, Activation activation,
                                        const DownProjection& down);

}  // namespace prudent::kernels
