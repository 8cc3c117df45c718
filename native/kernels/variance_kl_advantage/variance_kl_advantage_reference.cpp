#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

namespace prudent::kernels {

namespace {

// (x - mean) * rsqrt(unbiased variance + 1e-8) over the valid tokens; the variance of a single token counts as 0.
at::Tensor whiten(const at::Tensor& x, const at::Tensor& mask, bool shift_mean) {
  const double count = mask.sum().item<double>();
  const at::Tensor mean = x.masked_select(mask).mean();
  const at::Tensor variance = (x.masked_select(mask) - mean).square().sum() / (count > 1 ? count - 1 : 1.0);
  at::Tensor whitened = (x - mean) * (variance + 1e-8).rsqrt();
  if (!shift_mean) whitened = whitened + mean;
  return at::where(mask, whitened, at::zeros_like(x));
}

at::Tensor estimate_kl(const at::Tensor& difference, const std::optional<at::Tensor>& kl_per_token, KlEstimator estimator) {
  switch (estimator) {
    case KlEstimator::Kl:
      return difference;
    case KlEstimator::Abs:
      return difference.abs();
    case KlEstimator::Mse:
      return difference.square() * 0.5;
    case KlEstimator::K3:
      return at::expm1(-difference) + difference;
    case KlEstimator::Full:
      break;
  }
  return *kl_per_token;
}

}  // namespace

VarianceKlAdvantage variance_kl_advantage_reference(const at::Tensor& logprobs, const at::Tensor& ref_logprobs,
                                                    const at::Tensor& values, const at::Tensor& scores,
                                                    const at::Tensor& kl_weights, const at::Tensor& response_lengths,
                                                    const std::optional<at::Tensor>& kl_per_token,
                                                    const VarianceKlAdvantageOptions& options) {
  const int64_t time = logprobs.size(1);
  const at::Tensor steps = at::arange(time, response_lengths.options()).unsqueeze(0);
  const at::Tensor lengths = response_lengths.unsqueeze(1);
  const at::Tensor mask = steps.lt(lengths), last = steps.eq(lengths - 1);
  const at::Tensor zeros = at::zeros_like(logprobs);

  VarianceKlAdvantage out;
  out.kl = at::where(mask, estimate_kl(logprobs - ref_logprobs, kl_per_token, options.kl_estimator), zeros);
  out.rewards = at::where(last, scores.unsqueeze(1), zeros) - kl_weights.unsqueeze(1) * out.kl;
  out.rewards = at::where(mask, out.rewards, zeros);
  if (options.whiten_rewards) out.rewards = whiten(out.rewards, mask, false);

  const at::Tensor v = at::where(mask, values, zeros);
  out.advantages = at::empty_like(logprobs);
  at::Tensor next_advantage = at::zeros_like(scores), next_value = at::zeros_like(scores);
  for (int64_t t = time - 1; t >= 0; --t) {
    const at::Tensor delta = out.rewards.select(1, t) + options.gamma * next_value - v.select(1, t);
    next_advantage = delta + options.gamma * options.lambda * next_advantage;
    next_value = v.select(1, t);
    out.advantages.select(1, t).copy_(next_advantage);
  }
  out.advantages = at::where(mask, out.advantages, zeros);
  out.returns = at::where(mask, out.advantages + v, zeros);
  if (options.whiten) out.advantages = whiten(out.advantages, mask, true);
  return out;
}

}  // namespace prudent::kernels
