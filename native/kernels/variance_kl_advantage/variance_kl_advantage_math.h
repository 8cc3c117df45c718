// The row recursions of variance_kl_advantage: shared by the CPU version (a loop over rows) and CUDA (a thread per row).
#pragma once

#include <math.h>

#include "kernels/common/host_device.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_kernel.h"

namespace prudent::kernels {

constexpr double kWhitenEps = 1e-8;

struct Whitening {
  float mean, scale;
};

PRUDENT_MATH float token_kl_estimate(float logprob, float ref_logprob, KlKind kind) {
  const float difference = logprob - ref_logprob;
  if (kind == KlKind::Abs) return fabsf(difference);
  if (kind == KlKind::Mse) return 0.5f * difference * difference;
  if (kind == KlKind::K3) return expm1f(-difference) + difference;
  return difference;
}

PRUDENT_MATH int64_t bounded_length(const VarianceKlAdvantageArgs& args, int64_t row) {
  const int64_t length = args.lengths[row];
  return length < 0 ? 0 : length > args.time ? args.time : length;
}

// KL and reward of a token, zeros behind the row's end.
PRUDENT_MATH void reward_token(const VarianceKlAdvantageArgs& args, int64_t row, int64_t t, int64_t length, RowMoments& moments) {
  const int64_t at = row * args.time + t;
  float kl = 0.0f, reward = 0.0f;
  if (t < length) {
    kl = args.kind == KlKind::Full ? args.kl_per_token[at]
                                   : token_kl_estimate(args.logprobs[at], args.ref_logprobs[at], args.kind);
    reward = (t == length - 1 ? args.scores[row] : 0.0f) - args.kl_weights[row] * kl;
  }
  args.kl[at] = kl;
  args.rewards[at] = reward;
  moments.sum += reward;
  moments.sum_of_squares += static_cast<double>(reward) * reward;
}

PRUDENT_MATH RowMoments reward_row(const VarianceKlAdvantageArgs& args, int64_t row) {
  const int64_t length = bounded_length(args, row);
  RowMoments moments = {0.0, 0.0};
  for (int64_t t = 0; t < args.time; ++t) reward_token(args, row, t, length, moments);
  return moments;
}

// Advantages (before whitening) and returns of a row, from its last token back.
PRUDENT_MATH RowMoments advantage_row(const VarianceKlAdvantageArgs& args, int64_t row) {
  const int64_t start = row * args.time, length = bounded_length(args, row);
  RowMoments moments = {0.0, 0.0};
  float advantage = 0.0f, next_value = 0.0f;
  for (int64_t t = length - 1; t >= 0; --t) {
    const int64_t at = start + t;
    const float value = args.values[at];
    advantage = args.rewards[at] + args.gamma * next_value - value + args.gamma * args.lambda * advantage;
    next_value = value;
    args.advantages[at] = advantage;
    args.returns[at] = advantage + value;
    moments.sum += advantage;
    moments.sum_of_squares += static_cast<double>(advantage) * advantage;
  }
  for (int64_t t = length; t < args.time; ++t) {
    args.advantages[start + t] = 0.0f;
    args.returns[start + t] = 0.0f;
  }
  return moments;
}

// Unbiased variance; that of a single token counts as 0.
PRUDENT_MATH Whitening whitening_of(RowMoments total, int64_t count) {
  const double mean = total.sum / static_cast<double>(count);
  double variance = 0.0;
  if (count > 1) variance = (total.sum_of_squares - total.sum * mean) / static_cast<double>(count - 1);
  if (variance < 0.0) variance = 0.0;
  return {static_cast<float>(mean), static_cast<float>(1.0 / sqrt(variance + kWhitenEps))};
}

PRUDENT_MATH float whitened(float x, Whitening w, bool shift_mean) {
  return (x - w.mean) * w.scale + (shift_mean ? 0.0f : w.mean);
}

PRUDENT_MATH void whiten_row(const VarianceKlAdvantageArgs& args, int64_t row, float* data, Whitening w, bool shift_mean) {
  const int64_t start = row * args.time, length = bounded_length(args, row);
  for (int64_t t = 0; t < length; ++t) data[start + t] = whitened(data[start + t], w, shift_mean);
}

}  // namespace prudent::kernels
