// Causal attention of one layer, with or without a cache, or behind keys and values that are kept.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/forward_pass.h"

namespace prudent::models {

// q [queries, heads, head_dim], k and v [tokens, kv_heads, head_dim] of the batch's tokens -> [queries, heads * head_dim]. In the
// last block queries may be fewer than tokens.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const ForwardPass& pass, bool last_block,
                  int64_t layer, double scale);

}  // namespace prudent::models
