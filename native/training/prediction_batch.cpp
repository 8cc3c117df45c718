#include "training/prediction_batch.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/transfer.h"

namespace prudent::training {

namespace {

// Predictions as they are met: a state that several rows read for the same target predicts once.
class Predictions {
 public:
  explicit Predictions(bool shares) : shares_(shares) {}

  void add(int64_t position, int64_t target) {
    // Rows come in the order of their tree: a position is either new, and then behind all others, or one that was met before.
    const bool is_new = read_.empty() || position > read_.back();
    if (is_new) read_.push_back(position);
    auto distinct = static_cast<int64_t>(targets_.size());
    if (shares_) distinct = numbers_.try_emplace({position, target}, distinct).first->second;
    expand_.push_back(distinct);
    if (distinct < static_cast<int64_t>(targets_.size())) return;
    const auto state = is_new ? read_.end() - 1 : std::lower_bound(read_.begin(), read_.end(), position);
    states_.push_back(state - read_.begin());
    targets_.push_back(target);
  }

  void write_to(PredictionBatch& batch, const at::Device& device) const {
    const auto on_device = [&](const std::vector<int64_t>& values) { return to_device(at::tensor(values, at::kLong), device); };
    batch.targets = on_device(targets_);
    if (static_cast<int64_t>(read_.size()) < batch.inputs.tokens()) batch.predicting = at::tensor(read_, at::kLong);
    // States are numbered as they are met, so that as many targets as states means: each once, in order. The same of `expand`.
    if (states_.size() > read_.size()) batch.states = on_device(states_);
    if (expand_.size() > targets_.size()) batch.expand = on_device(expand_);
  }

 private:
  bool shares_;
  std::vector<int64_t> read_, states_, targets_, expand_;
  std::map<std::pair<int64_t, int64_t>, int64_t> numbers_;  // (position, target) -> distinct prediction
};

}  // namespace

PredictionBatch pack_predictions(const models::Model& model, const std::vector<models::RowView>& rows,
                                 const std::vector<int32_t>& prompt_lengths, const std::vector<int32_t>& shared) {
  std::vector<models::RowView> inputs;
  inputs.reserve(rows.size());
  for (size_t row = 0; row < rows.size(); ++row) {
    PRUDENT_CHECK(rows[row].length - 1 <= model.config().max_positions, "E_TOO_LONG", "lengths[" + std::to_string(row) + "]",
                  "at most " + std::to_string(model.config().max_positions) + " tokens before the last",
                  std::to_string(rows[row].length - 1));
    inputs.push_back({rows[row].ids, rows[row].length - 1});
  }
  PredictionBatch batch;
  batch.inputs = models::pack_shared(inputs, shared, model.device());
  Predictions predictions(batch.inputs.parents.defined());
  for (size_t row = 0; row < rows.size(); ++row) {
    const std::vector<int64_t> positions = batch.inputs.tokens_of(static_cast<int64_t>(row));
    for (int32_t t = prompt_lengths[row]; t < rows[row].length; ++t) {
      predictions.add(positions[static_cast<size_t>(t - 1)], rows[row].ids[t]);
    }
    batch.predicted_lengths.push_back(rows[row].length - prompt_lengths[row]);
  }
  predictions.write_to(batch, model.device());
  return batch;
}

PredictionBatch pack_predictions(const models::Model& model, const TokenRows& rows, const std::vector<int32_t>& prompt_lengths,
                                 const std::vector<int64_t>& index) {
  const std::vector<models::RowView> views = rows.views();
  std::vector<models::RowView> chosen;
  std::vector<int32_t> prompts;
  for (const int64_t row : index) {
    chosen.push_back(views[static_cast<size_t>(row)]);
    prompts.push_back(prompt_lengths[static_cast<size_t>(row)]);
  }
  return pack_predictions(model, chosen, prompts, std::vector<int32_t>(chosen.size(), 0));
}

at::Tensor predicting_hidden(const models::Model& model, const PredictionBatch& batch, const models::Checkpointing& checkpoint) {
  const at::Tensor read = model.hidden(batch.inputs, nullptr, {.rows = batch.predicting, .checkpoint = checkpoint});
  return batch.states.defined() ? at::index_select(read, 0, batch.states) : read;
}

at::Tensor per_predicted(const PredictionBatch& batch, const at::Tensor& values) {
  return batch.expand.defined() ? at::index_select(values, 0, batch.expand) : values;
}

std::vector<float> row_sums(const at::Tensor& per_token, const std::vector<int32_t>& lengths) {
  const at::Tensor values = per_token.to(at::kCPU, at::kFloat).contiguous();
  const float* value = values.const_data_ptr<float>();
  std::vector<float> sums;
  sums.reserve(lengths.size());
  for (const int32_t length : lengths) {
    sums.push_back(static_cast<float>(std::accumulate(value, value + length, 0.0)));
    value += length;
  }
  return sums;
}

std::vector<int64_t> row_range(int64_t first, int64_t last) {
  std::vector<int64_t> rows(last - first);
  std::iota(rows.begin(), rows.end(), first);
  return rows;
}

}  // namespace prudent::training
