// A rollout with its advantages, cut into mini-batches: everything of a PPO step that stays fixed while the policy moves.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/model.h"
#include "training/ppo_options.h"
#include "training/ppo_statistics.h"
#include "training/prediction_batch.h"
#include "training/rollout.h"

namespace prudent::training {

// The loss is a mean over tokens, blind to rows: the tokens of a micro-batch stand as one row of the loss kernel.
struct PpoMicroBatch {
  std::vector<int64_t> rows;  // in the order of the predictions
  PredictionBatch prediction;
  at::Tensor old_logprobs, old_values, advantages, returns;  // [1, predicted] fp32
  at::Tensor length;                                         // [1] int32: predicted
};

class PpoExperience {
 public:
  // scores and kl_weights [rows]: E_SHAPE, E_NON_FINITE, E_RANGE (a negative weight) naming them.
  PpoExperience(const models::Model& policy, const Rollout& rollout, const std::vector<float>& scores,
                const std::vector<float>& kl_weights, const PpoTrainerOptions& options);

  // The given rows as micro-batches of at most micro_batch_tokens computed tokens.
  [[nodiscard]] std::vector<PpoMicroBatch> pack(std::vector<int64_t> index) const;
  // objective/*, ppo/mean_non_score_reward, ppo/*_scores, tokens/*.
  [[nodiscard]] PpoStats statistics() const;

 private:
  const models::Model& policy_;
  const Rollout& rollout_;
  const std::vector<float>& scores_;
  const std::vector<float>& kl_weights_;
  int64_t micro_batch_tokens_;
  bool share_prefixes_;
  TokenRows rows_;                        // prompt + response
  std::vector<int64_t> token_starts_;     // [rows + 1]: where a row's response tokens begin in the tensors below
  at::Tensor advantages_, returns_, kl_;  // [response tokens] fp32, rows end to end, as those of the rollout
};

}  // namespace prudent::training
