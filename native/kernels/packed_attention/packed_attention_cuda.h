// Attention over packed rows on CUDA, by libtorch's own kernels: flash attention in bfloat16 (head_dim up to 256),
// memory-efficient attention otherwise. CUDA builds only.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/packed_attention/packed_attention.h"

namespace prudent::kernels {

// As packed_attention(), arguments checked; differentiable.
at::Tensor packed_attention_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionLayout& layout,
                                 double scale);

}  // namespace prudent::kernels
