#include "kernels/packed_attention/attention_rows.h"

#include <algorithm>

namespace prudent::kernels {

AttentionRows::AttentionRows(const AttentionLayout& layout) {
  const at::Tensor bounds = layout.cu_seqlens.contiguous();
  const int32_t* cu = bounds.const_data_ptr<int32_t>();
  const int64_t segments = bounds.numel() - 1;
  const at::Tensor parents = layout.parents.defined() ? layout.parents.contiguous() : at::Tensor();
  const at::Tensor queries = layout.queries.defined() ? layout.queries.contiguous() : at::Tensor();
  const int64_t* query = queries.defined() ? queries.const_data_ptr<int64_t>() : nullptr;
  const int64_t* const end = queries.defined() ? query + queries.numel() : nullptr;
  std::vector<std::vector<int64_t>> inherited(static_cast<size_t>(segments));  // tokens of what each segment continues
  for (int64_t s = 0; s < segments; ++s) {
    std::vector<int64_t>& before = inherited[static_cast<size_t>(s)];
    const int32_t parent = parents.defined() ? parents.const_data_ptr<int32_t>()[s] : -1;
    if (parent >= 0) {
      before = inherited[static_cast<size_t>(parent)];
      for (int64_t token = cu[parent]; token < cu[parent + 1]; ++token) before.push_back(token);
    }
    if (!queries.defined()) {
      if (cu[s] < cu[s + 1]) add_row(before, cu[s], cu[s], cu[s + 1] - 1);
      continue;
    }
    while (query != end && *query < cu[s + 1]) {
      const int64_t first = *query;
      int64_t last = first;
      while (++query != end && *query < cu[s + 1] && *query == last + 1) ++last;
      add_row(before, cu[s], first, last);
    }
  }
  as_they_are_ = as_they_are_ && !keys.empty() && static_cast<int64_t>(keys.size()) == cu[segments];
}

// Queries first .. last of a segment.
void AttentionRows::add_row(const std::vector<int64_t>& inherited, int64_t segment_start, int64_t first, int64_t last) {
  as_they_are_ = as_they_are_ && inherited.empty() && segment_start == static_cast<int64_t>(keys.size());
  keys.insert(keys.end(), inherited.begin(), inherited.end());
  for (int64_t token = segment_start; token <= last; ++token) keys.push_back(token);
  const int64_t query_count = last - first + 1, key_count = static_cast<int64_t>(keys.size()) - key_bounds.back();
  query_bounds.push_back(static_cast<int32_t>(query_bounds.back() + query_count));
  key_bounds.push_back(static_cast<int32_t>(keys.size()));
  longest_queries = std::max(longest_queries, query_count);
  longest_keys = std::max(longest_keys, key_count);
}

}  // namespace prudent::kernels
