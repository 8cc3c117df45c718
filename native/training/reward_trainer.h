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
};

class RewardTrainer {
 public:
  // E_NO_HEAD unless the model is a sequence classifier. batch_tokens: chosen + rejected tokens of one forward.
  RewardTrainer(std::shared_ptr<models::Model> model, const OptimizerOptions& options, int64_t batch_tokens);

  // Row i of `chosen` is preferred to row i of `rejected`; E_SHAPE when their numbers differ.
  RewardStep step(const TokenRows& chosen, const TokenRows& rejected, double lr, const Job& job);

  void save_state(const std::string& file) const { optimizer_.save(file); }
  void load_state(const std::string& file) { optimizer_.load(file); }

 private:
  std::shared_ptr<models::Model> model_;
  Optimizer optimizer_;
  int64_t batch_tokens_;
};

}  // namespace prudent::training
