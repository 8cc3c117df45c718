#include "training/prediction_plan.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/transfer.h"

namespace prudent::training {
namespace {

// Rows stay as they came unless sharing saves at least this part of their tokens: attention over many short segments costs more
// than over whole rows.
constexpr int64_t kLeastSaving = 16;

template <typename T>
std::vector<T> pick(const std::vector<T>& values, const std::vector<int64_t>& index) {
  std::vector<T> result;
  result.reserve(index.size());
  for (const int64_t i : index) result.push_back(values[static_cast<size_t>(i)]);
  return result;
}

RowPlan plan_inputs(const std::vector<models::RowView>& rows, const std::vector<int32_t>& prompt_lengths, int64_t batch_tokens,
                    SharedPart share, const std::string& argument) {
  std::vector<models::RowView> inputs;
  std::vector<int32_t> most_shared;
  int64_t tokens = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    inputs.push_back({rows[row].ids, rows[row].length - 1});
    most_shared.push_back(share == SharedPart::Prompts ? prompt_lengths[row] - 1 : std::numeric_limits<int32_t>::max());
    tokens += rows[row].length - 1;
  }
  if (share != SharedPart::None) {
    RowPlan shared(inputs, most_shared, batch_tokens, true, argument);
    if (shared.computed_tokens() <= tokens - (tokens + kLeastSaving - 1) / kLeastSaving) return shared;
  }
  return {inputs, most_shared, batch_tokens, false, argument};
}

}  // namespace

PredictionPlan::PredictionPlan(const TokenRows& rows, const std::vector<int32_t>& prompt_lengths, std::vector<int64_t> index,
                               int64_t batch_tokens, SharedPart share, const std::string& argument)
    : index_(std::move(index)),
      views_(pick(rows.views(), index_)),
      prompt_lengths_(pick(prompt_lengths, index_)),
      plan_(plan_inputs(views_, prompt_lengths_, batch_tokens, share, argument)) {}

std::vector<int64_t> PredictionPlan::rows_of(std::pair<int64_t, int64_t> batch) const {
  return pick(index_, {plan_.order().begin() + batch.first, plan_.order().begin() + batch.second});
}

PredictionBatch PredictionPlan::pack(const models::Model& model, std::pair<int64_t, int64_t> batch) const {
  const auto [first, last] = batch;
  const std::vector<int64_t> places{plan_.order().begin() + first, plan_.order().begin() + last};
  return pack_predictions(model, pick(views_, places), pick(prompt_lengths_, places),
                          {plan_.shared().begin() + first, plan_.shared().begin() + last});
}

at::Tensor PredictionPlan::in_row_order(const at::Tensor& by_place) const {
  if (std::is_sorted(plan_.order().begin(), plan_.order().end())) return by_place;
  std::vector<int64_t> starts(index_.size());  // [index] where a row's tokens begin in by_place
  int64_t tokens = 0;
  const auto predicted = [&](int64_t row) {
    return views_[static_cast<size_t>(row)].length - prompt_lengths_[static_cast<size_t>(row)];
  };
  for (const int64_t row : plan_.order()) {
    starts[static_cast<size_t>(row)] = tokens;
    tokens += predicted(row);
  }
  std::vector<int64_t> from(static_cast<size_t>(tokens));
  auto next = from.begin();
  for (size_t row = 0; row < index_.size(); ++row) {
    const auto end = next + predicted(static_cast<int64_t>(row));
    std::iota(next, end, starts[row]);
    next = end;
  }
  return at::index_select(by_place, 0, to_device(at::tensor(from, at::kLong), by_place.device()));
}

}  // namespace prudent::training
