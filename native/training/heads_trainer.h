// n reward heads on cached features of a frozen base (paper, section 4): independent Bradley-Terry losses, one fused step for
// all heads. Optionally each head has its own order or bootstrap sample, and a ridge toward its initial value (anchored
// ensembles, Pearce et al. 2020).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/job.h"
#include "training/feature_cache.h"
#include "training/optimizer.h"

namespace prudent::training {

struct HeadsTrainerOptions {
  OptimizerOptions optimizer;  // max_grad_norm holds for each head by itself: one norm over all heads would couple them
  double anchor = 0.0;         // adds anchor / 2 * |h - h0|^2 to each head's loss
};

struct HeadsStep {
  std::vector<float> loss_per_head;       // [heads] Bradley-Terry loss without the ridge, before the update
  std::vector<float> accuracy_per_head;   // [heads]
  std::vector<float> grad_norm_per_head;  // [heads] with the ridge, before clipping
  double grad_norm = 0;                   // 2-norm over all heads
};

class HeadsTrainer {
 public:
  // initial [heads, hidden] fp32: the starting heads and the anchors.
  HeadsTrainer(std::shared_ptr<const FeatureCache> features, const at::Tensor& initial, const HeadsTrainerOptions& options);

  // Row numbers of the cache, pair by pair: [batch], shared by all heads; or with per_head [heads, batch] row-major.
  HeadsStep step(const std::vector<int32_t>& chosen, const std::vector<int32_t>& rejected, bool per_head, double lr,
                 const Job& job);

  [[nodiscard]] int64_t heads() const;
  // A copy, [heads, hidden] fp32.
  [[nodiscard]] at::Tensor weights() const;

  // The state holds the heads and their anchors too: they live nowhere else.
  void save_state(const std::string& file) const;
  void load_state(const std::string& file);

 private:
  std::shared_ptr<const FeatureCache> features_;
  HeadsTrainerOptions options_;
  at::Tensor weight_, initial_;  // [heads, hidden] fp32
  Optimizer optimizer_;
};

}  // namespace prudent::training
