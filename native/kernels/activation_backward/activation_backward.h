// Backward of what follows a projection, u = x W + b, y = activation(u), in one pass over the gradient:
//   grad_u[t, j] = grad_y[t, j] * activation'(u[t, j]);  grad_b[j] = sum_t grad_u[t, j]
// Sums in fp32, rounded once.
// No gradient: it is one, of a graph that is not differentiated twice.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

struct ActivationBackward {
  at::Tensor grad_u;     // [tokens, size]; grad_y itself where there is no activation
  at::Tensor grad_bias;  // [size], undefined unless asked for
};

// grad_y and u [tokens, size], of one dtype, fp32 | bf16; u is not read, and may be undefined, without an activation.
ActivationBackward activation_backward(const at::Tensor& grad_y, const at::Tensor& u, std::optional<Activation> activation,
                                       bool want_bias);
ActivationBackward activation_backward_reference(const at::Tensor& grad_y, const at::Tensor& u,
                                                 std::optional<Activation> activation, bool want_bias);

}  // namespace prudent::kernels
