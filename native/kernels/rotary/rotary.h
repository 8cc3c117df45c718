// Rotary position embedding (Su et al. 2021), the "rotate half" layout of transformers' Llama and Gemma.
//   y[t, h, j]       = x[t, h, j] * cos[p, j] - x[t, h, j + d/2] * sin[p, j]
//   y[t, h, j + d/2] = x[t, h, j + d/2] * cos[p, j] + x[t, h, j] * sin[p, j]     with p = positions[t], j < d/2
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// x [tokens, heads, head_dim] fp32 | bf16, positions [tokens] int64, cos and sin [max_positions, head_dim / 2] fp32
// -> [tokens, heads, head_dim]. Differentiable in x.
at::Tensor rotary(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin);
at::Tensor rotary_reference(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace prudent::kernels
