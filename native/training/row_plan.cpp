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

}  // namespace

int32_t common_prefix(const models::RowView& a, const models::RowView& b) {
  const int32_t most = std::min(a.length, b.length) - 1;
  return static_cast<int32_t>(std::mismatch(a.ids, a.ids + most, b.ids).first - a.ids);
}

RowPlan::RowPlan(const TokenRows& rows, int64_t batch_tokens, bool share)
    : RowPlan(rows.views(), rows.lengths, batch_tokens, share, "batchTokens") {}

RowPlan::RowPlan(const std::vector<models::RowView>& rows, const std::vector<int32_t>& most_shared, int64_t batch_tokens,
                 bool share, const std::string& argument)
    : order_(rows.size()), shared_(rows.size(), 0) {
  PRUDENT_CHECK(batch_tokens >= 1, "E_RANGE", argument, "an integer >= 1", std::to_string(batch_tokens));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (share) {
    std::stable_sort(order_.begin(), order_.end(), [&](int64_t left, int64_t right) {
      const models::RowView &a = rows[static_cast<size_t>(left)], &b = rows[static_cast<size_t>(right)];
      return std::lexicographical_compare(a.ids, a.ids + a.length, b.ids, b.ids + b.length);
    });
  }
  for (const int64_t row : order_) rows_.push_back(rows[static_cast<size_t>(row)]);
  for (size_t place = 1; share && place < rows_.size(); ++place) {
    const int32_t most =
        std::min(most_shared[static_cast<size_t>(order_[place - 1])], most_shared[static_cast<size_t>(order_[place])]);
    shared_[place] = std::min(common_prefix(rows_[place - 1], rows_[place]), most) / kPrefixStep * kPrefixStep;
  }
  cut(batch_tokens);
}

void RowPlan::cut(int64_t batch_tokens) {
  int64_t used = 0;
  for (int64_t place = 0; place < static_cast<int64_t>(rows_.size()); ++place) {
    const auto at = static_cast<size_t>(place);
    if (place == 0 || used + rows_[at].length - shared_[at] > batch_tokens) {
      batches_.emplace_back(place, place);
      shared_[at] = 0;  // nothing is shared across forwards
      used = 0;
    }
    used += rows_[at].length - shared_[at];
    computed_tokens_ += rows_[at].length - shared_[at];
    batches_.back().second = place + 1;
  }
}

models::PackedBatch RowPlan::pack(std::pair<int64_t, int64_t> batch, const at::Device& device) const {
  const auto [first, last] = batch;
  return models::pack_shared({rows_.begin() + first, rows_.begin() + last}, {shared_.begin() + first, shared_.begin() + last},
                             device);
}

at::Tensor RowPlan::in_row_order(const at::Tensor& by_place) const {
  at::Tensor by_row = at::empty_like(by_place);
  by_row.index_copy_(0, at::tensor(order_, at::kLong), by_place);
  return by_row;
}

}  // namespace prudent::training
