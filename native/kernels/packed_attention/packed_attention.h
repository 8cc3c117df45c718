// Causal attention over packed sequences of different lengths: no padding, no [rows, time, time] mask.
//   out[t, h] = sum_s softmax_s(scale * q[t, h] . k[s, g]) v[s, g]  over s <= t of t's own row, g = h / (heads / kv_heads)
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// q [tokens, heads, head_dim], k and v [tokens, kv_heads, head_dim] fp32 | bf16; cu_seqlens [rows + 1] int32 on the CPU,
// cu_seqlens[0] = 0, row r holds tokens cu_seqlens[r] .. cu_seqlens[r + 1] -> [tokens, heads, head_dim].
// Softmax and accumulation in fp32. Differentiable in q, k, v.
at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens,
                            double scale);
at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens,
                                      double scale);

// One new token per row against a cache: q [rows, heads, head_dim], k_cache and v_cache [rows, capacity, kv_heads, head_dim],
// lengths [rows] int32 on q's device (valid positions of each row, the new one included) -> [rows, heads, head_dim]. No gradient.
at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache, const at::Tensor& lengths,
                            double scale);
at::Tensor cached_attention_reference(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache,
                                      const at::Tensor& lengths, double scale);

}  // namespace prudent::kernels
