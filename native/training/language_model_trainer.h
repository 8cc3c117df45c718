// Next-token cross-entropy: one call is one optimiser step over all given rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/job.h"
#include "models/model.h"
#include "training/optimizer.h"
#include "training/token_rows.h"

namespace prudent::training {

struct LanguageModelStep {
  double loss = 0;       // nats per predicted token, before the update
  double grad_norm = 0;  // before clipping
  int64_t tokens = 0;    // predicted tokens
};

class LanguageModelTrainer {
 public:
  // batch_tokens: tokens of one forward; gradients add up over the micro-batches, weighted by token, so the result does not
  // depend on it (up to rounding).
  LanguageModelTrainer(std::shared_ptr<models::Model> model, const OptimizerOptions& options, int64_t batch_tokens,
                       const models::Checkpointing& checkpoint = {});

  // Rows of one token predict nothing and are passed over; E_SHAPE when no row predicts anything.
  LanguageModelStep step(const TokenRows& rows, double lr, const Job& job);

  void save_state(const std::string& file) const { optimizer_.save(file); }
  void load_state(const std::string& file) { optimizer_.load(file); }

 private:
  std::shared_ptr<models::Model> model_;
  Optimizer optimizer_;
  int64_t batch_tokens_;
  models::Checkpointing checkpoint_;
};

}  // namespace prudent::training
