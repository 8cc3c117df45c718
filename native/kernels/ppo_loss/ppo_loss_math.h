// One token of the PPO loss: shared by the CPU and CUDA versions.
#pragma once

#include <math.h>

#include "kernels/common/host_device.h"
#include "kernels/ppo_loss/ppo_loss_kernel.h"

namespace prudent::kernels {

struct PpoToken {
  float logprob, value, old_logprob, old_value, advantage, returns;
};
struct PpoSlopes {
  float logprob, value;  // of the token's own loss terms, before the division by the number of tokens
};

PRUDENT_MATH float clip(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// Gradients are those of autograd through max and clamp: inside the clip range, its edges included, both branches agree and the
// full gradient flows; outside, only the unclipped branch has one, and a tie of the two shares it half and half.
PRUDENT_MATH PpoSlopes ppo_token(const PpoToken& token, const PpoLossArgs& args, PpoSums& sums) {
  const float difference = token.logprob - token.old_logprob;
  const float ratio = expf(difference);
  const float low = 1.0f - args.clip_range, high = 1.0f + args.clip_range;
  const float policy = -token.advantage * ratio, policy_clipped = -token.advantage * clip(ratio, low, high);
  const bool ratio_inside = ratio >= low && ratio <= high;
  const float policy_share = ratio_inside || policy > policy_clipped ? 1.0f : policy < policy_clipped ? 0.0f : 0.5f;

  const float value_low = token.old_value - args.clip_range_value, value_high = token.old_value + args.clip_range_value;
  const float error = token.value - token.returns;
  const float error_clipped = clip(token.value, value_low, value_high) - token.returns;
  const float value = error * error, value_clipped = error_clipped * error_clipped;
  const bool value_inside = token.value >= value_low && token.value <= value_high;
  const float value_share = value_inside || value > value_clipped ? 1.0f : value < value_clipped ? 0.0f : 0.5f;

  sums.policy += fmaxf(policy, policy_clipped);
  sums.value += fmaxf(value, value_clipped);
  sums.ratio += ratio;
  sums.squared_difference += static_cast<double>(difference) * difference;
  sums.difference -= difference;
  sums.clipped += policy_clipped > policy ? 1.0 : 0.0;
  sums.value_clipped += value_clipped > value ? 1.0 : 0.0;
  sums.advantage += token.advantage;
  sums.returns += token.returns;
  sums.returns_squared += static_cast<double>(token.returns) * token.returns;
  sums.values += token.value;
  sums.value_error += value;
  sums.old_values += token.old_value;
  sums.old_values_squared += static_cast<double>(token.old_value) * token.old_value;
  sums.count += 1.0;
  return {policy * policy_share, args.vf_coef * error * value_share};
}

PRUDENT_MATH void add_sums(PpoSums& to, const PpoSums& from) {
  to.policy += from.policy;
  to.value += from.value;
  to.ratio += from.ratio;
  to.squared_difference += from.squared_difference;
  to.difference += from.difference;
  to.clipped += from.clipped;
  to.value_clipped += from.value_clipped;
  to.advantage += from.advantage;
  to.returns += from.returns;
  to.returns_squared += from.returns_squared;
  to.values += from.values;
  to.value_error += from.value_error;
  to.old_values += from.old_values;
  to.old_values_squared += from.old_values_squared;
  to.count += from.count;
}

// A ratio that is not a number skips nothing: the loss shows it.
PRUDENT_MATH bool ratio_exceeded(const PpoSums& total, float threshold) { return total.ratio / total.count > threshold; }

PRUDENT_MATH void write_losses(const PpoLossArgs& args, const PpoSums& total) {
  const double kept = ratio_exceeded(total, args.ratio_threshold) ? 0.0 : 1.0 / total.count;
  const double policy = kept * total.policy, value = kept * 0.5 * total.value;
  args.losses[0] = static_cast<float>(policy + static_cast<double>(args.vf_coef) * value);
  args.losses[1] = static_cast<float>(policy);
  args.losses[2] = static_cast<float>(value);
}

PRUDENT_MATH int64_t bounded_length(const PpoLossArgs& args, int64_t row) {
  const int64_t length = args.lengths[row];
  return length < 0 ? 0 : length > args.time ? args.time : length;
}

PRUDENT_MATH PpoToken token_at(const PpoLossArgs& args, int64_t at) {
  return {args.logprobs[at], args.values[at], args.old_logprobs[at], args.old_values[at], args.advantages[at], args.returns[at]};
}

}  // namespace prudent::kernels
