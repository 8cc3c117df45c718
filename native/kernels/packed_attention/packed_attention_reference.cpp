#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>

#include <limits>
#include <vector>

#include "kernels/packed_attention/packed_attention.h"

namespace prudent::kernels {

namespace {

// q [queries, heads, head_dim], k and v [keys, kv_heads, head_dim] of one row -> [queries, heads, head_dim]. Query i sees the
// keys up to keys - queries + i. Eager attention of transformers: softmax in fp32, probabilities rounded to q's dtype.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const int64_t queries = q.size(0), keys = k.size(0), group = q.size(1) / k.size(1);
  const at::ScalarType compute = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor qh = q.transpose(0, 1);
  const at::Tensor kh = k.transpose(0, 1).repeat_interleave(group, 0), vh = v.transpose(0, 1).repeat_interleave(group, 0);
  const at::Tensor hidden = at::ones({queries, keys}, q.options().dtype(at::kBool)).triu(keys - queries + 1);
  const at::Tensor scores =
      (at::matmul(qh, kh.transpose(1, 2)) * scale).to(compute).masked_fill(hidden, -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1).to(q.scalar_type()), vh).transpose(0, 1);
}

}  // namespace

at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens,
                                      double scale) {
  const at::Tensor bounds = cu_seqlens.contiguous();
  const int32_t* cu = bounds.const_data_ptr<int32_t>();
  std::vector<at::Tensor> rows;
  for (int64_t r = 0; r + 1 < bounds.numel(); ++r) {
    const int64_t start = cu[r], length = cu[r + 1] - cu[r];
    if (length > 0)
      rows.push_back(attend(q.narrow(0, start, length), k.narrow(0, start, length), v.narrow(0, start, length), scale));
  }
  return rows.empty() ? at::empty_like(q) : at::cat(rows, 0);
}

at::Tensor cached_attention_reference(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache,
                                      const at::Tensor& lengths, double scale) {
  const at::Tensor valid = lengths.contiguous();
  const int32_t* length = valid.const_data_ptr<int32_t>();
  std::vector<at::Tensor> rows;
  for (int64_t r = 0; r < q.size(0); ++r) {
    rows.push_back(attend(q.narrow(0, r, 1), k_cache.select(0, r).narrow(0, 0, length[r]),
                          v_cache.select(0, r).narrow(0, 0, length[r]), scale));
  }
  return rows.empty() ? at::empty_like(q) : at::cat(rows, 0);
}

}  // namespace prudent::kernels
