// Statistics of a PPO step under the names that users of classic TRL know.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/ppo_loss/ppo_loss.h"

namespace prudent::training {

using PpoStats = std::vector<std::pair<std::string, double>>;

// One optimiser update, put together from its micro-batches.
class UpdateStatistics {
 public:
  // Statistics of `tokens` response tokens; entropy_sum is over the same tokens.
  void add(const kernels::PpoLossStats& part, double entropy_sum, int64_t tokens);
  [[nodiscard]] double ratio_mean() const;
  [[nodiscard]] double policy_kl() const;
  [[nodiscard]] double loss() const;
  // The ratio threshold was exceeded: losses count as 0.
  void mark_skipped() { skipped_ = true; }
  // Named values; variances are unbiased, as TRL's masked_var.
  [[nodiscard]] PpoStats values(double grad_norm) const;

 private:
  // Sums over tokens of what PpoLossStats holds means of, so that micro-batches of any size add up exactly.
  kernels::PpoLossStats sum_;
  double returns_square_sum_ = 0, old_value_square_sum_ = 0, entropy_sum_ = 0;
  int64_t tokens_ = 0;
  bool skipped_ = false;
};

// Mean over updates, name by name, in the order of the first.
PpoStats mean_over_updates(const std::vector<PpoStats>& updates);

struct MeanStd {
  double mean = 0;
  double std = 0;  // unbiased (ddof 1); 0 for fewer than two values
};
MeanStd mean_std(const std::vector<double>& values);

}  // namespace prudent::training
