// What the CPU version of packed_attention and both versions of cached_attention take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// Queries of one segment go through the kernel in blocks of this many; cuts between tasks fall between blocks.
constexpr int64_t kAttentionBlock = 32;

// A stretch of consecutive tokens.
struct AttentionPiece {
  int32_t start, count;
};

// Its queries see keys of a chain of pieces: those of the segments that it continues, root first, then its own.
struct AttentionSegment {
  int32_t pieces_begin, pieces_end;
  int32_t keys;                        // of the whole chain
  int32_t queries_begin, queries_end;  // rows of q
};

// What one thread does in one go, under one key/value head: queries of one segment (forward) or all of a tree of segments
// (backward, where the branches of a prefix add to one gradient) for some of its query heads.
struct AttentionTask {
  int32_t segments_begin, segments_end;
  int32_t queries_begin, queries_end;  // forward only
  int32_t heads_begin, heads_end;      // query heads
  int64_t work_begin;                  // multiplications of all tasks before this one
};

struct AttentionShape {
  const AttentionSegment* segments;
  const AttentionPiece* pieces;
  const int32_t* limits;  // [queries]: how many keys of its chain each query sees; ascending within a segment
  const AttentionTask* tasks;
  int64_t task_count, work;             // of all tasks
  int64_t most_keys, most_tree_tokens;  // of any segment, of any tree
  int64_t heads, kv_heads, head_dim;
  int64_t q_stride, k_stride, v_stride;  // items from one token to the next
  float scale;
  bool bf16;
};

struct AttentionForward {
  AttentionShape shape;
  const void *q, *k, *v;  // [queries, heads, head_dim], [tokens, kv_heads, head_dim]
  void* out;              // [queries, heads, head_dim]
  float* logsumexp;       // [queries, heads], kept for the gradient
};

struct AttentionBackward {
  AttentionShape shape;
  const void *q, *k, *v, *out, *grad_out;
  const float* logsumexp;
  void* grad_q;  // as q, without gaps
  // As k and v, without gaps; or, where a tree's query heads are tasks of their own, one part per query head, to be added up:
  // [tokens, heads, head_dim] fp32.
  void *grad_k, *grad_v;
  bool per_head;
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
// bf16 where has_amx().
namespace amx {
void attention_forward_tiles(const AttentionForward& args);
void attention_backward_tiles(const AttentionBackward& args);
}  // namespace amx

}  // namespace prudent::kernels
