// Root-mean-square normalisation (Zhang & Sennrich 2019), as Llama and Gemma use it.
//   y[t, j] = x[t, j] * rsqrt(mean_j(x[t, j]^2) + eps) * (weight[j] + (unit_offset ? 1 : 0))
// Statistics in fp32. Rounding as transformers does it: Llama rounds the normalised x to x.dtype before the gain, Gemma
// multiplies in fp32 by (1 + weight) and rounds once.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// x [tokens, hidden] fp32 | bf16, weight [hidden] of the same dtype -> [tokens, hidden]. Differentiable in x and weight.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset);

// The plain ATen truth, differentiable; any float dtype (float64 in gradient tests).
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset);

}  // namespace prudent::kernels
