// Rows packed for next-token prediction: only the tokens after each row's prompt are predicted, and a row's last token, which
// predicts nothing, is not fed to the model at all. What rows share at their beginning stands there once, and what they predict
// in it alike is predicted once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "training/token_rows.h"

namespace prudent::training {

struct PredictionBatch {
  models::PackedBatch inputs;  // rows without their last tokens
  at::Tensor predicting;  // [read] int64 on the CPU: positions of `inputs` whose hidden state predicts; undefined: all of them
  at::Tensor states;      // [distinct] int64: which of the read states predicts; undefined: each of them once, in order
  at::Tensor targets;     // [distinct] int64: the token that follows
  at::Tensor expand;      // [predicted] int64: which distinct prediction each predicted token is; undefined: each once, in order
  std::vector<int32_t> predicted_lengths;  // [rows] predicted tokens of each row
  [[nodiscard]] int64_t predicted() const { return expand.defined() ? expand.size(0) : targets.size(0); }
};

// Rows whose ids have been checked, 1 <= prompt_lengths[r] < rows[r].length for each; shared[r]: first tokens in common with
// row r - 1, as pack_shared takes them of the rows without their last tokens. E_TOO_LONG for a row that the model cannot hold.
PredictionBatch pack_predictions(const models::Model& model, const std::vector<models::RowView>& rows,
                                 const std::vector<int32_t>& prompt_lengths, const std::vector<int32_t>& shared);
// The rows named by `index`, each by itself.
PredictionBatch pack_predictions(const models::Model& model, const TokenRows& rows, const std::vector<int32_t>& prompt_lengths,
                                 const std::vector<int64_t>& index);

// [distinct, hidden]: final hidden states at the predicting positions, in the autograd graph when grad mode is on. checkpoint:
// activation checkpointing.
at::Tensor predicting_hidden(const models::Model& model, const PredictionBatch& batch,
                             const models::Checkpointing& checkpoint = {});

// [distinct] -> [predicted]: what was computed once, for each token that it stands for.
at::Tensor per_predicted(const PredictionBatch& batch, const at::Tensor& values);

// Sums of consecutive stretches of per-token values [sum(lengths)] fp32, added up in double -> [rows].
std::vector<float> row_sums(const at::Tensor& per_token, const std::vector<int32_t>& lengths);

// first, first + 1 … last - 1
std::vector<int64_t> row_range(int64_t first, int64_t last);

}  // namespace prudent::training
