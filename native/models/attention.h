// Causal attention of one layer, with or without a cache.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/packed_attention/packed_attention.h"
#include "models/kv_cache.h"

namespace prudent::models {

// q [queries, heads, head_dim], k and v [tokens, kv_heads, head_dim] of the layout's tokens -> [queries, heads * head_dim].
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const kernels::AttentionLayout& layout,
                  KvCache* cache, int64_t layer, double scale);

}  // namespace prudent::models
