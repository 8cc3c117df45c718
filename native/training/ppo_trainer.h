// PPO as classic TRL (0.8 to 0.11) does it, with a KL weight per sample: beta, beta * sigma_i or beta * sigma_i^2 (paper,
// section 5). One call of step() is one PPO step: advantages once, then ppo_epochs x mini-batches of optimiser updates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/job.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "models/model.h"
#include "training/optimizer.h"
#include "training/rollout.h"

namespace prudent::training {

struct PpoTrainerOptions {
  OptimizerOptions optimizer;  // classic TRL: no weight decay, no clipping
  int64_t ppo_epochs = 4;
  int64_t mini_batch_size = 128;       // rows of one optimiser update; the last mini-batch of an epoch may be smaller
  int64_t micro_batch_tokens = 16384;  // tokens of one forward and backward inside a mini-batch
  double gamma = 1.0;
  double lambda = 0.95;
  double clip_range = 0.2;
  double clip_range_value = 0.2;
  double vf_coef = 0.1;
  double ratio_threshold = 10.0;
  bool whiten_advantages = true;
  bool whiten_rewards = false;
  kernels::KlEstimator kl_estimator = kernels::KlEstimator::Kl;
  bool early_stopping = false;  // after an epoch, when the last mini-batch's policykl > 1.5 * target_kl
  double target_kl = 1.0;
};

struct PpoStepInput {
  std::vector<float> scores;      // [rows]
  std::vector<float> kl_weights;  // [rows], >= 0
  double lr = 1.414e-5;
  uint64_t seed = 0;  // of the permutations
  // [ppo_epochs * rows], each epoch a permutation of the rows, in place of the seeded ones; empty: seeded. For comparisons
  // with other implementations.
  std::vector<int64_t> permutations;
};

// Under classic TRL's names, in a fixed order. Means over all updates of the step where TRL takes them.
using PpoStats = std::vector<std::pair<std::string, double>>;

class PpoTrainer {
 public:
  // E_NO_HEAD unless the policy is causal with a value head and the reference is causal; E_SHAPE when vocabularies differ;
  // E_RANGE when both are the same model or an option is out of range.
  PpoTrainer(std::shared_ptr<models::Model> policy, std::shared_ptr<const models::Model> reference, const PpoTrainerOptions& options);

  // As make_rollout; with KlEstimator::Full the exact KL is always taken.
  std::shared_ptr<const Rollout> rollout(const TokenRows& prompts, const RolloutOptions& options, const Job& job) const;

  // A cancel or failure before the first update leaves policy and optimiser as they were; from then on the step is not cancelled.
  // A non-finite gradient in a later update (E_NON_FINITE) leaves the state after the last complete update.
  PpoStats step(const Rollout& rollout, const PpoStepInput& input, const Job& job);

  void save_state(const std::string& file) const { optimizer_.save(file); }
  void load_state(const std::string& file) { optimizer_.load(file); }

 private:
  std::shared_ptr<models::Model> policy_;
  std::shared_ptr<const models::Model> reference_;
  PpoTrainerOptions options_;
  Optimizer optimizer_;
};

}  // namespace prudent::training
