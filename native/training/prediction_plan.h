// The order and the micro-batches in which rows go through a model for next-token prediction: as RowPlan has them, where that
// saves enough, else as given.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "training/prediction_batch.h"
#include "training/row_plan.h"
#include "training/token_rows.h"

namespace prudent::training {

// How much of their beginning rows may share.
enum class SharedPart {
  None,
  Prompts,     // all but the last token of a prompt: each row keeps its predicting states, and the gradients that meet there, to
               // itself
  Everything,  // what is predicted alike is predicted once too
};

class PredictionPlan {
 public:
  // Rows whose ids have been checked, which must outlive the plan; those named by `index`, 1 <= prompt_lengths[row] <
  // lengths[row] for each. batch_tokens: tokens that one forward computes at most; `argument` names it in an error.
  PredictionPlan(const TokenRows& rows, const std::vector<int32_t>& prompt_lengths, std::vector<int64_t> index,
                 int64_t batch_tokens, SharedPart share, const std::string& argument = "batchTokens");

  // Stretches of places, one a forward.
  [[nodiscard]] const std::vector<std::pair<int64_t, int64_t>>& batches() const { return plan_.batches(); }
  // The rows of a stretch, in the order of its predictions.
  [[nodiscard]] std::vector<int64_t> rows_of(std::pair<int64_t, int64_t> batch) const;
  [[nodiscard]] PredictionBatch pack(const models::Model& model, std::pair<int64_t, int64_t> batch) const;
  // [predicted tokens of all rows] by place -> in the order of `index`.
  [[nodiscard]] at::Tensor in_row_order(const at::Tensor& by_place) const;
  [[nodiscard]] int64_t computed_tokens() const { return plan_.computed_tokens(); }

 private:
  std::vector<int64_t> index_;
  std::vector<models::RowView> views_;   // [index] whole rows
  std::vector<int32_t> prompt_lengths_;  // [index]
  RowPlan plan_;                         // of rows without their last tokens
};

}  // namespace prudent::training
