// PPO as classic TRL (0.8 to 0.11) does it, with a KL weight per sample: beta, beta * sigma_i or beta * sigma_i^2 (paper,
// section 5). One call of step() is one PPO step: advantages once, then ppo_epochs x mini-batches of optimiser updates.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "models/model.h"
#include "training/optimizer.h"
#include "training/ppo_experience.h"
#include "training/ppo_options.h"
#include "training/ppo_statistics.h"
#include "training/rollout.h"

namespace prudent::training {

struct PpoStepInput {
  std::vector<float> scores;      // [rows]
  std::vector<float> kl_weights;  // [rows], >= 0
  double lr = 1.414e-5;
  uint64_t seed = 0;  // of the permutations
  // [ppo_epochs * rows], each epoch a permutation of the rows, in place of the seeded ones; empty: seeded. For comparisons
  // with other implementations.
  std::vector<int64_t> permutations;
};

class PpoTrainer {
 public:
  // E_NO_HEAD unless the policy is causal with a value head and the reference is causal; E_SHAPE when vocabularies differ;
  // E_RANGE when both are the same model or an option is out of range.
  PpoTrainer(std::shared_ptr<models::Model> policy, std::shared_ptr<const models::Model> reference,
             const PpoTrainerOptions& options);

  // As make_rollout; with KlEstimator::Full the exact KL is always taken. Keeps the forward for step() as the options say.
  std::shared_ptr<const Rollout> rollout(const TokenRows& prompts, const RolloutOptions& options, const Job& job) const;

  // A cancel or failure before the first update leaves policy and optimiser as they were; from then on the step is not cancelled.
  // A non-finite gradient in a later update (E_NON_FINITE) leaves the state after the last complete update.
  // -> under classic TRL's names, in a fixed order; means over all updates of the step where TRL takes them.
  PpoStats step(const Rollout& rollout, const PpoStepInput& input, const Job& job);

  void save_state(const std::string& file) const { optimizer_.save(file); }
  void load_state(const std::string& file) { optimizer_.load(file); }

 private:
  struct Update {
    PpoStats statistics;
    double ratio_error;  // largest |ratio - 1| of its tokens
  };
  [[nodiscard]] std::optional<PolicyForward> held_forward(const Rollout& rollout, const std::vector<PpoMicroBatch>& micro) const;
  // This rank's rows of a mini-batch.
  [[nodiscard]] std::vector<int64_t> own_rows(const Rollout& rollout, const std::vector<int64_t>& mini_batch) const;
  // micro: of this rank; tokens: of the whole mini-batch, all ranks. `ready`: the forward of the only micro-batch, when it is
  // known already.
  Update update(const std::vector<PpoMicroBatch>& micro, int64_t tokens, std::optional<PolicyForward> ready, double lr,
                const Job& job);

  std::shared_ptr<models::Model> policy_;
  std::shared_ptr<const models::Model> reference_;
  PpoTrainerOptions options_;
  Optimizer optimizer_;
};

}  // namespace prudent::training
