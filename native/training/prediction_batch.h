// Rows packed for next-token prediction: only the tokens after each row's prompt are predicted, and a row's last token, which
// predicts nothing, is not fed to the model at all.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "training/token_rows.h"

namespace prudent::training {

struct PredictionBatch {
  models::PackedBatch inputs;  // rows without their last tokens
  at::Tensor
      predicting;      // [predicted] int64 on the CPU: positions of `inputs` whose hidden state predicts; undefined: all of them
  at::Tensor targets;  // [predicted] int64: the token that follows
  std::vector<int32_t> predicted_lengths;  // [rows] predicted tokens of each row
  [[nodiscard]] int64_t predicted() const { return targets.size(0); }
};

// The rows named by `index`; 1 <= prompt_lengths[row] < lengths[row] for each (the caller's check).
PredictionBatch pack_predictions(const models::Model& model, const TokenRows& rows, const std::vector<int32_t>& prompt_lengths,
                                 const std::vector<int64_t>& index);

// [predicted, hidden]: final hidden states at the predicting positions, in the autograd graph when grad mode is on. checkpoint:
// activation checkpointing.
at::Tensor predicting_hidden(const models::Model& model, const PredictionBatch& batch, bool checkpoint = false);

// Sums of consecutive stretches of per-token values [sum(lengths)] fp32, added up in double -> [rows].
std::vector<float> row_sums(const at::Tensor& per_token, const std::vector<int32_t>& lengths);

// first, first + 1 … last - 1
std::vector<int64_t> row_range(int64_t first, int64_t last);

}  // namespace prudent::training
