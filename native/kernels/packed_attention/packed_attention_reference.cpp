#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <limits>
#include <vector>

#include "kernels/packed_attention/packed_attention.h"

namespace prudent::kernels {

namespace {

// q [queries, heads, head_dim], k and v [keys, kv_heads, head_dim] of one row; query i sees keys 0 .. places[i]
// -> [queries, heads, head_dim]. Eager attention of transformers: softmax in fp32, probabilities rounded to q's dtype.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& places, double scale) {
  const int64_t keys = k.size(0), group = q.size(1) / k.size(1);
  const at::ScalarType compute = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor qh = q.transpose(0, 1);
  const at::Tensor kh = k.transpose(0, 1).repeat_interleave(group, 0), vh = v.transpose(0, 1).repeat_interleave(group, 0);
  const at::Tensor hidden = at::arange(keys, places.options()).unsqueeze(0).gt(places.unsqueeze(1));  // [queries, keys]
  const at::Tensor scores =
      (at::matmul(qh, kh.transpose(1, 2)) * scale).to(compute).masked_fill(hidden, -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1).to(q.scalar_type()), vh).transpose(0, 1);
}

}  // namespace

at::Tensor packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const AttentionLayout& layout, double scale) {
  const at::Tensor bounds = layout.cu_seqlens.contiguous();
  const int32_t* cu = bounds.const_data_ptr<int32_t>();
  const int64_t segments = bounds.numel() - 1;
  const at::Tensor parents = layout.parents.defined() ? layout.parents.contiguous() : at::full({segments}, -1, at::kInt);
  const at::Tensor queries = layout.queries.defined() ? layout.queries.contiguous() : at::arange(k.size(0), at::kLong);
  std::vector<at::Tensor> chains;  // per segment: the tokens that its queries may see, in order
  std::vector<at::Tensor> parts;
  int64_t first = 0;
  for (int64_t s = 0; s < segments; ++s) {
    const at::Tensor own = at::arange(cu[s], cu[s + 1], at::kLong);
    const int32_t parent = parents.const_data_ptr<int32_t>()[s];
    const int64_t inherited = parent < 0 ? 0 : chains[static_cast<size_t>(parent)].size(0);
    chains.push_back(parent < 0 ? own : at::cat({chains[static_cast<size_t>(parent)], own}));
    int64_t count = 0;
    while (first + count < queries.size(0) && queries.const_data_ptr<int64_t>()[first + count] < cu[s + 1]) ++count;
    if (count > 0) {
      const at::Tensor chain = chains.back().to(q.device());
      const at::Tensor places = (queries.narrow(0, first, count) + (inherited - cu[s])).to(q.device());
      parts.push_back(attend(q.narrow(0, first, count), k.index_select(0, chain), v.index_select(0, chain), places, scale));
    }
    first += count;
  }
  return parts.empty() ? at::empty_like(q) : at::cat(parts, 0);
}

at::Tensor cached_attention_reference(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache,
                                      const at::Tensor& lengths, double scale) {
  const at::Tensor valid = lengths.cpu().contiguous();
  const int32_t* length = valid.const_data_ptr<int32_t>();
  std::vector<at::Tensor> rows;
  for (int64_t r = 0; r < q.size(0); ++r) {
    rows.push_back(attend(q.narrow(0, r, 1), k_cache.select(0, r).narrow(0, 0, length[r]),
                          v_cache.select(0, r).narrow(0, 0, length[r]),
                          at::full({1}, length[r] - 1, q.options().dtype(at::kLong)), scale));
  }
  return rows.empty() ? at::empty_like(q) : at::cat(rows, 0);
}

}  // namespace prudent::kernels
