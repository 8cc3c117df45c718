#include "kernels/packed_attention/attention_plan.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <numeric>

#include "kernels/common/check.h"

namespace prudent::kernels {

namespace {

// A task that is more than one part in so many of all work is cut: several threads can then be busy to the end.
constexpr int64_t kParts = 16;
// Below so many multiplications a cut costs more than it gains.
constexpr int64_t kWorthCutting = 1 << 22;

void check_cu_seqlens(const at::Tensor& cu_seqlens, int64_t tokens) {
  check_dtype(cu_seqlens, "cu_seqlens", at::kInt);
  check_dims(cu_seqlens, "cu_seqlens", 1, "[segments + 1]");
  check_on_cpu(cu_seqlens, "cu_seqlens");
  const at::Tensor dense = cu_seqlens.contiguous();
  const int32_t* cu = dense.const_data_ptr<int32_t>();
  const int64_t segments = dense.size(0) - 1;
  PRUDENT_CHECK(segments >= 0 && cu[0] == 0 && cu[segments] == tokens, "E_RANGE", "cu_seqlens",
                "0 first and " + std::to_string(tokens) + " last",
                segments < 0 ? "nothing" : std::to_string(cu[0]) + " and " + std::to_string(cu[segments]));
  for (int64_t s = 0; s < segments; ++s) {
    PRUDENT_CHECK(cu[s] <= cu[s + 1], "E_RANGE", "cu_seqlens[" + std::to_string(s + 1) + "]", std::to_string(cu[s]) + " or more",
                  std::to_string(cu[s + 1]));
  }
}

void check_parents(const at::Tensor& parents, int64_t segments) {
  check_dtype(parents, "parents", at::kInt);
  check_shape(parents, "parents", {segments});
  check_on_cpu(parents, "parents");
  const at::Tensor dense = parents.contiguous();
  const int32_t* parent = dense.const_data_ptr<int32_t>();
  int64_t root = 0;
  for (int64_t s = 0; s < segments; ++s) {
    PRUDENT_CHECK(parent[s] == -1 || (parent[s] >= root && parent[s] < s), "E_RANGE", "parents[" + std::to_string(s) + "]",
                  "-1 or a segment from " + std::to_string(root) + " to " + std::to_string(s - 1), std::to_string(parent[s]));
    if (parent[s] == -1) root = s;
  }
}

void check_queries(const at::Tensor& queries, int64_t count, int64_t tokens) {
  check_dtype(queries, "queries", at::kLong);
  check_shape(queries, "queries", {count});
  check_on_cpu(queries, "queries");
  const at::Tensor dense = queries.contiguous();
  const int64_t* query = dense.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t low = i == 0 ? 0 : query[i - 1] + 1;
    PRUDENT_CHECK(query[i] >= low && query[i] < tokens, "E_RANGE", "queries[" + std::to_string(i) + "]",
                  "a token from " + std::to_string(low) + " to " + std::to_string(tokens - 1), std::to_string(query[i]));
  }
}

}  // namespace

void check_attention_layout(const AttentionLayout& layout, int64_t queries, int64_t tokens) {
  check_cu_seqlens(layout.cu_seqlens, tokens);
  if (layout.parents.defined()) check_parents(layout.parents, layout.cu_seqlens.size(0) - 1);
  if (layout.queries.defined()) check_queries(layout.queries, queries, tokens);
}

AttentionPlan::AttentionPlan(const AttentionLayout& layout, int64_t heads, int64_t kv_heads, int64_t head_dim)
    : heads_(heads), kv_heads_(kv_heads), head_dim_(head_dim) {
  const at::Tensor bounds = layout.cu_seqlens.contiguous();
  const int32_t* cu = bounds.const_data_ptr<int32_t>();
  const int64_t count = bounds.size(0) - 1;
  const at::Tensor parents = layout.parents.defined() ? layout.parents.contiguous() : at::full({count}, -1, at::kInt);
  const at::Tensor queries = layout.queries.defined() ? layout.queries.contiguous() : at::arange(cu[count], at::kLong);
  const int64_t *query = queries.const_data_ptr<int64_t>(), *queries_end = query + queries.size(0);
  segments_.reserve(static_cast<size_t>(count));
  limits_.reserve(static_cast<size_t>(queries.size(0)));
  for (int64_t s = 0; s < count; ++s) {
    const int32_t parent = parents.const_data_ptr<int32_t>()[s];
    if (parent < 0) roots_.push_back(s);
    add_segment(parent, {cu[s], cu[s + 1] - cu[s]});
    const int32_t inherited = segments_.back().keys - (cu[s + 1] - cu[s]);
    for (; query != queries_end && *query < cu[s + 1]; ++query) {
      limits_.push_back(inherited + static_cast<int32_t>(*query) - cu[s] + 1);
    }
    segments_.back().queries_end = static_cast<int32_t>(limits_.size());
    most_keys_ = std::max<int64_t>(most_keys_, segments_.back().keys);
    most_tree_tokens_ = std::max<int64_t>(most_tree_tokens_, cu[s + 1] - cu[roots_.back()]);
  }
  roots_.push_back(count);
}

void AttentionPlan::add_segment(int32_t parent, AttentionPiece own) {
  AttentionSegment segment{.pieces_begin = static_cast<int32_t>(pieces_.size()),
                           .keys = own.count,
                           .queries_begin = static_cast<int32_t>(limits_.size())};
  if (parent >= 0) {
    const AttentionSegment before = segments_[static_cast<size_t>(parent)];
    for (int32_t i = before.pieces_begin; i < before.pieces_end; ++i) pieces_.push_back(pieces_[static_cast<size_t>(i)]);
    segment.keys += before.keys;
  }
  pieces_.push_back(own);
  segment.pieces_end = static_cast<int32_t>(pieces_.size());
  segments_.push_back(segment);
}

int64_t AttentionPlan::work_of(int64_t segments_begin, int64_t segments_end) const {
  const auto begin = limits_.begin();
  const int64_t seen = std::accumulate(begin + segments_[static_cast<size_t>(segments_begin)].queries_begin,
                                       begin + segments_[static_cast<size_t>(segments_end - 1)].queries_end, int64_t{0});
  return seen * head_dim_ * (heads_ / kv_heads_);
}

void AttentionPlan::add_task(const AttentionTask& task, int64_t work) {
  tasks_.push_back(task);
  tasks_.back().work_begin = work_;
  work_ += work;
}

void AttentionPlan::plan_forward() {
  const auto segments = static_cast<int64_t>(segments_.size());
  const int64_t group = heads_ / kv_heads_, all = segments == 0 ? 0 : kv_heads_ * work_of(0, segments);
  const int64_t most = std::max(kWorthCutting, all / kParts);
  for (int64_t s = 0; s < segments; ++s) {
    const AttentionSegment& segment = segments_[static_cast<size_t>(s)];
    const int64_t begin = segment.queries_begin, queries = segment.queries_end - begin, work = work_of(s, s + 1);
    if (queries == 0) continue;
    const int64_t parts = std::min((work + most - 1) / most, (queries + kAttentionBlock - 1) / kAttentionBlock);
    const int64_t blocks = ((queries + parts - 1) / parts + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock;
    for (int64_t head = 0; head < heads_; head += group) {
      for (int64_t first = 0; first < queries; first += blocks) {
        const int64_t last = std::min(queries, first + blocks);
        add_task({.segments_begin = static_cast<int32_t>(s),
                  .segments_end = static_cast<int32_t>(s + 1),
                  .queries_begin = static_cast<int32_t>(begin + first),
                  .queries_end = static_cast<int32_t>(begin + last),
                  .heads_begin = static_cast<int32_t>(head),
                  .heads_end = static_cast<int32_t>(head + group)},
                 work * (last - first) / queries + 1);
      }
    }
  }
}

bool AttentionPlan::plan_backward() {
  int64_t all = 0, most = 0;
  for (size_t tree = 0; tree + 1 < roots_.size(); ++tree) {
    const int64_t work = work_of(roots_[tree], roots_[tree + 1]);
    all += kv_heads_ * work;
    most = std::max(most, work);
  }
  const int64_t group = heads_ / kv_heads_;
  const bool per_head = group > 1 && most > std::max(kWorthCutting, all / kParts);
  const int64_t step = per_head ? 1 : group;
  for (size_t tree = 0; tree + 1 < roots_.size(); ++tree) {
    const int64_t work = work_of(roots_[tree], roots_[tree + 1]) * step / group;
    for (int64_t head = 0; head < heads_; head += step) {
      add_task({.segments_begin = static_cast<int32_t>(roots_[tree]),
                .segments_end = static_cast<int32_t>(roots_[tree + 1]),
                .heads_begin = static_cast<int32_t>(head),
                .heads_end = static_cast<int32_t>(head + step)},
               work + 1);
    }
  }
  return per_head;
}

AttentionShape AttentionPlan::shape() const {
  return {.segments = segments_.data(),
          .pieces = pieces_.data(),
          .limits = limits_.data(),
          .tasks = tasks_.data(),
          .task_count = static_cast<int64_t>(tasks_.size()),
          .work = work_,
          .most_keys = most_keys_,
          .most_tree_tokens = most_tree_tokens_,
          .heads = heads_,
          .kv_heads = kv_heads_,
          .head_dim = head_dim_};
}

}  // namespace prudent::kernels
