// All reward heads in one pass: gather each row's scored token and multiply by n heads, fp32 accumulation.
//   scores[r, n] = sum_j hidden[index[r], j] * weight[n, j]
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// hidden [tokens, hidden] fp32 | bf16, index [rows] int64, weight [heads, hidden] fp32 | bf16 -> [rows, heads] fp32.
// Differentiable in hidden and weight.
at::Tensor multi_head(const at::Tensor& hidden, const at::Tensor& index, const at::Tensor& weight);
at::Tensor multi_head_reference(const at::Tensor& hidden, const at::Tensor& index, const at::Tensor& weight);

}  // namespace prudent::kernels
