#include "training/ppo_statistics.h"

#include <algorithm>
#include <cmath>

namespace prudent::training {
namespace {

// From a sum, a sum of squares and a count; Bessel's correction as in TRL's masked_var.
double unbiased_variance(double sum, double square_sum, double count) {
  if (count < 2) return 0;
  const double mean = sum / count;
  return std::max(0.0, square_sum / count - mean * mean) * count / (count - 1);
}

}  // namespace

void UpdateStatistics::add(const kernels::PpoLossStats& part, double entropy_sum, int64_t tokens) {
  const auto n = static_cast<double>(tokens);
  sum_.policy_loss += n * part.policy_loss;
  sum_.value_loss += n * part.value_loss;
  sum_.loss += n * part.loss;
  sum_.approx_kl += n * part.approx_kl;
  sum_.policy_kl += n * part.policy_kl;
  sum_.clip_fraction += n * part.clip_fraction;
  sum_.value_clip_fraction += n * part.value_clip_fraction;
  sum_.ratio_mean += n * part.ratio_mean;
  sum_.advantages_mean += n * part.advantages_mean;
  sum_.returns_mean += n * part.returns_mean;
  sum_.value_mean += n * part.value_mean;
  sum_.value_error += n * part.value_error;
  sum_.value_mean_old += n * part.value_mean_old;
  returns_square_sum_ += (n - 1) * part.returns_var + n * part.returns_mean * part.returns_mean;
  old_value_square_sum_ += (n - 1) * part.value_var_old + n * part.value_mean_old * part.value_mean_old;
  entropy_sum_ += entropy_sum;
  tokens_ += tokens;
}

double UpdateStatistics::ratio_mean() const { return sum_.ratio_mean / static_cast<double>(tokens_); }
double UpdateStatistics::policy_kl() const { return sum_.policy_kl / static_cast<double>(tokens_); }
double UpdateStatistics::loss() const { return skipped_ ? 0.0 : sum_.loss / static_cast<double>(tokens_); }

PpoStats UpdateStatistics::values(double grad_norm) const {
  const auto n = static_cast<double>(tokens_);
  const double kept = skipped_ ? 0.0 : 1.0;
  return {
      {"ppo/loss/policy", kept * sum_.policy_loss / n},
      {"ppo/loss/value", kept * sum_.value_loss / n},
      {"ppo/loss/total", loss()},
      {"ppo/policy/entropy", entropy_sum_ / n},
      {"ppo/policy/approxkl", sum_.approx_kl / n},
      {"ppo/policy/policykl", policy_kl()},
      {"ppo/policy/clipfrac", sum_.clip_fraction / n},
      {"ppo/policy/advantages_mean", sum_.advantages_mean / n},
      {"ppo/policy/ratio", ratio_mean()},
      {"ppo/returns/mean", sum_.returns_mean / n},
      {"ppo/returns/var", unbiased_variance(sum_.returns_mean, returns_square_sum_, n)},
      {"ppo/val/vpred", sum_.value_mean / n},
      {"ppo/val/error", sum_.value_error / n},
      {"ppo/val/clipfrac", sum_.value_clip_fraction / n},
      {"ppo/val/mean", sum_.value_mean_old / n},
      {"ppo/val/var", unbiased_variance(sum_.value_mean_old, old_value_square_sum_, n)},
      {"ppo/grad_norm", grad_norm},
  };
}

PpoStats mean_over_updates(const std::vector<PpoStats>& updates) {
  PpoStats result = updates.front();
  for (size_t i = 0; i < result.size(); ++i) {
    double sum = 0;
    for (const PpoStats& update : updates) sum += update[i].second;
    result[i].second = sum / static_cast<double>(updates.size());
  }
  return result;
}

MeanStd mean_std(const std::vector<double>& values) {
  MeanStd result;
  if (values.empty()) return result;
  for (const double value : values) result.mean += value / static_cast<double>(values.size());
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.std = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return result;
}

}  // namespace prudent::training
