// From log-probs and scores to whitened advantages in one pass: the variance-weighted KL penalty of the paper
// (R = r - beta * sigma(x, y) * ln(pi / pi0), section 5) spread over tokens as classic TRL does it, then GAE.
//   kl[i, t]      = estimator(logprobs[i, t] - ref_logprobs[i, t])
//   rewards[i, t] = -kl_weights[i] * kl[i, t] + (t == len_i - 1 ? scores[i] : 0)
//   delta_t = rewards_t + gamma * V_{t+1} - V_t (terminal V = 0), A_t = delta_t + gamma * lambda * A_{t+1}
//   returns = A + V (before whitening); whitening over all valid tokens: (A - mean) * rsqrt(unbiased var + 1e-8)
// (the variance of a single token counts as 0).
// With `whiten_rewards` the rewards are whitened without shifting their mean before GAE.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace prudent::kernels {

// Of d = logprob - ref_logprob: d (k1), |d|, d^2 / 2 (k2), the sum over the vocabulary (exact), e^-d - 1 + d (k3, Schulman 2020:
// unbiased as k1 and never negative).
enum class KlEstimator { Kl, Abs, Mse, Full, K3 };

struct VarianceKlAdvantageOptions {
  double gamma = 1.0;
  double lambda = 0.95;
  bool whiten = true;
  bool whiten_rewards = false;
  KlEstimator kl_estimator = KlEstimator::Kl;
};

struct VarianceKlAdvantage {
  at::Tensor rewards;     // [batch, time] fp32, 0 outside the valid positions (so are the others)
  at::Tensor advantages;  // [batch, time] fp32
  at::Tensor returns;     // [batch, time] fp32
  at::Tensor kl;          // [batch, time] fp32
};

// logprobs, ref_logprobs, values [batch, time] fp32; scores, kl_weights [batch] fp32; response_lengths [batch] int32 with
// 1 <= length <= time, valid positions from 0; kl_per_token [batch, time] fp32, needed for Full and ignored otherwise.
// What stands outside the valid positions is never read.
// No gradient: advantages and returns are constants of the PPO loss.
VarianceKlAdvantage variance_kl_advantage(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, const at::Tensor& values,
                                          const at::Tensor& scores, const at::Tensor& kl_weights,
                                          const at::Tensor& response_lengths, const std::optional<at::Tensor>& kl_per_token,
                                          const VarianceKlAdvantageOptions& options);
VarianceKlAdvantage variance_kl_advantage_reference(const at::Tensor& logprobs, const at::Tensor& ref_logprobs,
                                                    const at::Tensor& values, const at::Tensor& scores,
                                                    const at::Tensor& kl_weights, const at::Tensor& response_lengths,
                                                    const std::optional<at::Tensor>& kl_per_token,
                                                    const VarianceKlAdvantageOptions& options);

}  // namespace prudent::kernels
