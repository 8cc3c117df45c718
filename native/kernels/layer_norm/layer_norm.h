// Layer normalisation (Ba et al. 2016), as GPT-2 uses it.
//   y[t, j] = (x[t, j] - mean_t) * rstd_t * weight[j] + bias[j],  rstd_t = 1 / sqrt(mean_j((x[t, j] - mean_t)^2) + eps)
// Statistics and sums in fp32, one rounding at the end, as PyTorch does it.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// x [tokens, hidden] fp32 | bf16, weight and bias [hidden] of the same dtype -> [tokens, hidden]. Differentiable in all three.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);
// The plain ATen truth, differentiable; any float dtype (float64 in gradient tests).
at::Tensor layer_norm_reference(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);

}  // namespace prudent::kernels
