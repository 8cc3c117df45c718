// A layer's projection with what follows it in one pass: y = activation(x W + bias) + residual, gradients included.
// On CUDA: libtorch's operations.
// Made of: matmul, activation_backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

struct Int8Weights;

enum class WeightLayout {
  OutIn,  // [out, in], as torch.nn.Linear keeps it
  InOut,  // [in, out], as GPT-2's Conv1D keeps it
};

struct LinearOptions {
  WeightLayout layout = WeightLayout::OutIn;
  at::Tensor bias;      // [out] or undefined
  at::Tensor residual;  // [tokens, out] or undefined
  std::optional<Activation> activation;
  // Multiplied with instead of the weight: of frozen models, no gradient (int8_weights.h).
  const Int8Weights* int8 = nullptr;
  // False: the result is wanted for its gradients alone and may hold anything. A product less, where ours does it.
  bool value_is_read = true;
};

// x [tokens, in], weight by `layout`, all of one dtype, fp32 | bf16 -> [tokens, out]. Differentiable in x, weight, bias,
// residual.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const LinearOptions& options = {});
at::Tensor linear_reference(const at::Tensor& x, const at::Tensor& weight, const LinearOptions& options = {});

// Gradient of the weight of y = x W in the weight's own layout, undefined when its sum has taken it (gradient_sums.h); and of x.
at::Tensor weight_gradient(const at::Tensor& weight, const at::Tensor& x, const at::Tensor& grad_y, WeightLayout layout);
at::Tensor input_gradient(const at::Tensor& grad_y, const at::Tensor& weight, WeightLayout layout);
// Sums over the rows of grad_y [tokens, out], in fp32, rounded once -> [out].
at::Tensor bias_gradient(const at::Tensor& grad_y);

// [in, out] view of the weight.
inline at::Tensor as_right(const at::Tensor& weight, WeightLayout layout) {
  return layout == WeightLayout::OutIn ? weight.t() : weight;
}

}  // namespace prudent::kernels
