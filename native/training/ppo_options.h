// Settings of PPO; the defaults are classic TRL's.
#pragma once

#include <cstdint>

#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "models/model.h"
#include "training/optimizer.h"

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
  // When a rollout is one mini-batch and one micro-batch, its evaluation is kept with its graph and serves the first update of
  // the step too: a forward less per step, for the activations of that batch held from the rollout to the step.
  bool share_forward = true;
  // Old log-probs and values are those of the sampling: no evaluation of the policy at all (and nothing to share). The first
  // ratio is then 1 up to rounding only; ppo/policy/first_ratio_error says how far off.
  bool old_from_sampling = false;
  // What prompts have in common at their beginning is computed once in every forward and backward, where that saves a sixteenth
  // of the tokens; results agree within rounding.
  bool share_prefixes = true;
  bool early_stopping = false;  // after an epoch, when the last mini-batch's policykl > 1.5 * target_kl
  double target_kl = 1.0;
  models::Checkpointing checkpoint;
};

}  // namespace prudent::training
