#include "training/prediction_batch.h"

#include <ATen/ops/tensor.h>

#include <numeric>

#include "core/transfer.h"

namespace prudent::training {

PredictionBatch pack_predictions(const models::Model& model, const TokenRows& rows, const std::vector<int32_t>& prompt_lengths,
                                 const std::vector<int64_t>& index) {
  const std::vector<int64_t> starts = rows.offsets();
  PredictionBatch batch;
  std::vector<int32_t> ids, lengths;
  std::vector<int64_t> predicting, targets;
  bool all_predict = true;
  for (const int64_t row : index) {
    const int32_t prompt = prompt_lengths[row], length = rows.lengths[row];
    const auto begin = rows.ids.begin() + starts[row];
    const int64_t first_input = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), begin, begin + length - 1);
    lengths.push_back(length - 1);
    for (int32_t t = prompt; t < length; ++t) {
      predicting.push_back(first_input + t - 1);
      targets.push_back(begin[t]);
    }
    batch.predicted_lengths.push_back(length - prompt);
    all_predict = all_predict && prompt == 1;
  }
  batch.inputs = models::pack(ids.data(), static_cast<int64_t>(ids.size()), lengths.data(), static_cast<int64_t>(lengths.size()),
                              model.config().vocab_size, model.config().max_positions, model.device());
  batch.targets = to_device(at::tensor(targets, at::kLong), model.device());
  if (!all_predict) batch.predicting = at::tensor(predicting, at::kLong);
  return batch;
}

at::Tensor predicting_hidden(const models::Model& model, const PredictionBatch& batch, bool checkpoint) {
  return model.hidden(batch.inputs, nullptr, {.rows = batch.predicting, .checkpoint = checkpoint});
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
