// What the CPU version of packed_attention and both versions of cached_attention take: raw pointers, row-major.
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
  int64_t rows, heads, kv_heads, head_dim, capacity;
  int64_t max_length;                                      // of the rows; CPU
  int64_t q_stride, cache_row_stride, cache_token_stride;  // items
  float scale;
  bool bf16;
  int64_t splits;  // of a row's keys; CUDA
  float* partial;  // [splits, rows, heads, head_dim + 2] when there is more than one: output, maximum, sum
};

PRUDENT_DECLARE_CPU_KERNEL(attention_forward, AttentionForward)
PRUDENT_DECLARE_CPU_KERNEL(attention_backward, AttentionBackward)
PRUDENT_DECLARE_CPU_KERNEL(attention_cached, CachedAttention)
void attention_cached_cuda(const CachedAttention& args, void* stream);

constexpr int64_t kLargestCachedHead = 256;  // head_dim, on CUDA
constexpr int64_t kCachedHeads = 8;          // query heads of a group that one block takes

}  // namespace prudent::kernels
