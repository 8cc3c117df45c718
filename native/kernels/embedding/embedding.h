// Rows of a table: y[t] = weight[ids[t]]. The gradient of the table has as many rows that are not 0 as there are distinct ids:
// they are added to the table's gradient sum where there is one (gradient_sums.h). For a table that is the LM head too that
// holds the head's part already, so that no second gradient as large as the table is filled with zeros and added.
// On CUDA: libtorch's embedding.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// weight [vocab, width] fp32 | bf16, ids [tokens] int64 in [0, vocab) -> [tokens, width]. Differentiable in weight; gradients of
// one row add up in fp32, in the order of the tokens.
at::Tensor embedding(const at::Tensor& weight, const at::Tensor& ids);
at::Tensor embedding_reference(const at::Tensor& weight, const at::Tensor& ids);

}  // namespace prudent::kernels
