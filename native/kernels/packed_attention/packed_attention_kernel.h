// What the CPU version of packed_attention takes: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct AttentionShape {
  const int32_t* cu_seqlens;  // [rows + 1]
  int64_t rows, heads, kv_heads, head_dim;
  int64_t q_stride, k_stride, v_stride;  // items from one token to the next
  float scale;
  bool bf16;
};

struct AttentionForward {
  AttentionShape shape;
  const void *q, *k, *v;  // [tokens, heads | kv_heads, head_dim]
  void* out;              // [tokens, heads, head_dim]
  float* logsumexp;       // [tokens, heads], kept for the gradient
};

struct AttentionBackward {
  AttentionShape shape;
  const void *q, *k, *v, *out, *grad_out;
  const float* logsumexp;
  void *grad_q, *grad_k, *grad_v;  // as q, k, v, without gaps
};

struct CachedAttention {
  const void *q, *k_cache, *v_cache;  // [rows, heads, head_dim], [rows, capacity, kv_heads, head_dim]
  const int32_t* lengths;             // [rows]
  void* out;                          // [rows, heads, head_dim]
  int64_t rows, heads, kv_heads, head_dim, max_length;
  int64_t q_stride, cache_row_stride, cache_token_stride;  // items
  float scale;
  bool bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(attention_forward, AttentionForward)
PRUDENT_DECLARE_CPU_KERNEL(attention_backward, AttentionBackward)
PRUDENT_DECLARE_CPU_KERNEL(attention_cached, CachedAttention)

}  // namespace prudent::kernels
