// Causal attention over packed sequences of different lengths: no padding, no [rows, time, time] mask.
//   out[i, h] = sum_s softmax_s(scale * q[i, h] . k[s, g]) v[s, g],  g = h / (heads / kv_heads)
// over the tokens s that query i sees: those of its own segment up to itself, and all tokens of the segments that its own
// continues.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace prudent::kernels {

// Which tokens attend to which. All tensors are on the CPU.
struct AttentionLayout {
  AttentionLayout() = default;
  // Plain rows: each segment by itself, every token a query.
  AttentionLayout(at::Tensor cu) : cu_seqlens(std::move(cu)) {}  // NOLINT(google-explicit-constructor)
  AttentionLayout(at::Tensor cu, at::Tensor parent, at::Tensor query = {})
      : cu_seqlens(std::move(cu)), parents(std::move(parent)), queries(std::move(query)) {}

  at::Tensor cu_seqlens;  // [segments + 1] int32, 0 first; segment s holds tokens cu_seqlens[s] .. cu_seqlens[s + 1]
  // [segments] int32: the segment that this one continues (a shared prefix), -1 for none; undefined: none has one. A tree of
  // segments is contiguous, its root first: parents[s] < s, and not before the last segment without a parent.
  at::Tensor parents;
  at::Tensor queries;  // [queries] int64, ascending: the tokens that q holds; undefined: every token
};

// q [queries, heads, head_dim], k and v [tokens, kv_heads, head_dim] fp32 | bf16 -> [queries, heads, head_dim].
// Softmax and accumulation in fp32. Differentiable in q, k, v; gradients of a shared prefix add up over what continues it.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionLayout& layout,
                            double scale);
at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const AttentionLayout& layout, double scale);

// One new token per row against a cache: q [rows, heads, head_dim], k_cache and v_cache [rows, capacity, kv_heads, head_dim],
// lengths [rows] int32 on q's device (valid positions of each row, the new one included) -> [rows, heads, head_dim]. No gradient.
at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache, const at::Tensor& lengths,
                            double scale);
at::Tensor cached_attention_reference(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache,
                                      const at::Tensor& lengths, double scale);

}  // namespace prudent::kernels
