#include "training/row_plan.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace prudent::training {
namespace {

// Prefixes are shared in steps of this many tokens: a shorter one costs attention more than its tokens are worth, and texts of
// one language begin alike by chance.
constexpr int32_t kPrefixStep = 4;

// One of its own is left of a row that continues the prefix.
bool continues(const models::RowView& row, const std::vector<int32_t>& prefix) {
  return !prefix.empty() && static_cast<size_t>(row.length) > prefix.size() && std::equal(prefix.begin(), prefix.end(), row.ids);
}

}  // namespace

int32_t common_prefix(const models::RowView& a, const models::RowView& b) {
  const int32_t most = std::min(a.length, b.length) - 1;
  return static_cast<int32_t>(std::mismatch(a.ids, a.ids + most, b.ids).first - a.ids);
}

RowPlan::RowPlan(const TokenRows& rows, int64_t batch_tokens, bool share)
    : RowPlan(rows.views(), rows.lengths, batch_tokens, share, "batchTokens") {}

RowPlan::RowPlan(const TokenRows& rows, int64_t batch_tokens, const std::vector<int32_t>& prefix)
    : RowPlan(rows.views(), rows.lengths, batch_tokens, /*share=*/true, "batchTokens", prefix) {}

RowPlan::RowPlan(const std::vector<models::RowView>& rows, const std::vector<int32_t>& most_shared, int64_t batch_tokens,
                 bool share, const std::string& argument)
    : RowPlan(rows, most_shared, batch_tokens, share, argument, {}) {}

RowPlan::RowPlan(const std::vector<models::RowView>& rows, const std::vector<int32_t>& most_shared, int64_t batch_tokens,
                 bool share, const std::string& argument, const std::vector<int32_t>& prefix)
    : order_(rows.size()), shared_(rows.size(), 0), prefix_length_(static_cast<int32_t>(prefix.size())) {
  PRUDENT_CHECK(batch_tokens >= 1, "E_RANGE", argument, "an integer >= 1", std::to_string(batch_tokens));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (share) order_rows(rows, prefix);
  for (const int64_t row : order_) rows_.push_back(rows[static_cast<size_t>(row)]);
  for (size_t place = 1; share && place < rows_.size(); ++place) {
    if (static_cast<int64_t>(place) == continuing_) continue;  // what the two have in common is in no segment
    const int32_t most =
        std::min(most_shared[static_cast<size_t>(order_[place - 1])], most_shared[static_cast<size_t>(order_[place])]);
    const int32_t common = std::min(common_prefix(rows_[place - 1], rows_[place]), most) / kPrefixStep * kPrefixStep;
    shared_[place] = std::max(common, kept_tokens(place));
  }
  cut(batch_tokens);
}

// Those that continue the prefix first, both kinds in the order of their tokens.
void RowPlan::order_rows(const std::vector<models::RowView>& rows, const std::vector<int32_t>& prefix) {
  const auto view = [&](int64_t row) -> const models::RowView& { return rows[static_cast<size_t>(row)]; };
  std::stable_sort(order_.begin(), order_.end(), [&](int64_t left, int64_t right) {
    const models::RowView &a = view(left), &b = view(right);
    return std::lexicographical_compare(a.ids, a.ids + a.length, b.ids, b.ids + b.length);
  });
  const auto rest =
      std::stable_partition(order_.begin(), order_.end(), [&](int64_t row) { return continues(view(row), prefix); });
  continuing_ = rest - order_.begin();
}

void RowPlan::cut(int64_t batch_tokens) {
  int64_t used = 0;
  for (int64_t place = 0; place < static_cast<int64_t>(rows_.size()); ++place) {
    const auto at = static_cast<size_t>(place);
    if (place == 0 || used + rows_[at].length - shared_[at] > batch_tokens) {
      batches_.emplace_back(place, place);
      shared_[at] = kept_tokens(at);  // nothing else is shared across forwards
      used = 0;
    }
    used += rows_[at].length - shared_[at];
    computed_tokens_ += rows_[at].length - shared_[at];
    batches_.back().second = place + 1;
  }
}

models::PackedBatch RowPlan::pack(std::pair<int64_t, int64_t> batch, const at::Device& device,
                                  const std::shared_ptr<const models::KvCache>& kept) const {
  const auto [first, last] = batch;
  const models::KeptRows continuing{kept, prefix_length_, std::clamp<int64_t>(continuing_ - first, 0, last - first)};
  return models::pack_shared({rows_.begin() + first, rows_.begin() + last}, {shared_.begin() + first, shared_.begin() + last},
                             continuing, device);
}

at::Tensor RowPlan::in_row_order(const at::Tensor& by_place) const {
  at::Tensor by_row = at::empty_like(by_place);
  by_row.index_copy_(0, at::tensor(order_, at::kLong), by_place);
  return by_row;
}

}  // namespace prudent::training
