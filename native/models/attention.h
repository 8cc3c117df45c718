// Causal attention of one layer, with or without a cache.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/kv_cache.h"
#include "models/packed_batch.h"

namespace prudent::models {

// q [tokens, heads, head_dim], k and v [tokens, kv_heads, head_dim] -> [tokens, heads * head_dim].
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PackedBatch& batch, KvCache* cache,
                  int64_t layer, double scale);

}  // namespace prudent::models
