// Full fine-tune of a sequence classifier on preference pairs (Bradley-Terry): mean over pairs of
// -ln sigmoid(chosen - rejected), summed over heads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/job.h"
#include "models/model.h"
#include "training/optimizer.h"
#include "training/token_rows.h"

namespace prudent::training {

struct RewardStep {
  double loss = 0;                       // sum over heads of the mean over pairs, before the update
  double accuracy = 0;                   // mean over heads; a tie is not accurate
  std::vector<float> loss_per_head;      // [heads]
  std::vector<float> accuracy_per_head;  // [heads]
  double grad_norm = 0;                  // before clipping
  int64_t tokens = 0;                    // of both sides
  int64_t computed_tokens = 0;           // of these, what the forwards compute: a pair's common prefix counts once
};

struct RewardTrainerOptions {
  OptimizerOptions optimizer;
  int64_t batch_tokens = 8192;  // computed tokens of one forward: gradients add up over them
  bool share_prefixes = true;   // what the two sides of a pair have in common at their beginning is computed once
  models::Checkpointing checkpoint;
};

class RewardTrainer {
 public:
  // E_NO_HEAD unless the model is a sequence classifier.
  RewardTrainer(std::shared_ptr<models::Model> model, const RewardTrainerOptions& options);

  // Row i of `chosen` is preferred to row i of `rejected`; E_SHAPE when their numbers differ.
  RewardStep step(const TokenRows& chosen, const TokenRows& rejected, double lr, const Job& job);

  void save_state(const std::string& file) const { optimizer_.save(file); }
  void load_state(const std::string& file) { optimizer_.load(file); }

 private:
  std::shared_ptr<models::Model> model_;
  RewardTrainerOptions options_;
  Optimizer optimizer_;
};

}  // namespace prudent::training
