#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/maximum.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "kernels/ppo_loss/ppo_loss.h"

namespace prudent::kernels {

namespace {

struct Terms {
  at::Tensor ratio, policy, policy_clipped, value, value_clipped;  // [valid tokens]
  at::Tensor policy_loss, value_loss, loss;                        // []
  bool skipped;
};

// All arguments [valid tokens].
Terms terms_of(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs, const at::Tensor& old_values,
               const at::Tensor& advantages, const at::Tensor& returns, const PpoLossOptions& options) {
  Terms t;
  t.ratio = (logprobs - old_logprobs).exp();
  t.policy = -advantages * t.ratio;
  t.policy_clipped = -advantages * at::clamp(t.ratio, 1.0 - options.clip_range, 1.0 + options.clip_range);
  const at::Tensor clipped = at::clamp(values, std::optional(old_values - options.clip_range_value),
                                       std::optional(old_values + options.clip_range_value));
  t.value = (values - returns).square();
  t.value_clipped = (clipped - returns).square();
  t.policy_loss = at::maximum(t.policy, t.policy_clipped).mean();
  t.value_loss = 0.5 * at::maximum(t.value, t.value_clipped).mean();
  t.skipped = t.ratio.mean().item<double>() > options.ratio_threshold;
  if (t.skipped) {
    t.policy_loss = t.policy_loss * 0.0;
    t.value_loss = t.value_loss * 0.0;
  }
  t.loss = t.policy_loss + options.vf_coef * t.value_loss;
  return t;
}

double mean_of(const at::Tensor& x) { return x.mean().item<double>(); }
double variance_of(const at::Tensor& x) { return x.numel() > 1 ? x.var(true).item<double>() : 0.0; }

}  // namespace

PpoLoss ppo_loss_reference(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                           const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                           const at::Tensor& response_lengths, const PpoLossOptions& options) {
  const at::Tensor mask = at::arange(logprobs.size(1), response_lengths.options()).unsqueeze(0).lt(response_lengths.unsqueeze(1));
  const at::Tensor lp = logprobs.masked_select(mask), v = values.masked_select(mask);
  const at::Tensor old_lp = old_logprobs.masked_select(mask), old_v = old_values.masked_select(mask);
  const at::Tensor adv = advantages.masked_select(mask), ret = returns.masked_select(mask);
  const Terms t = terms_of(lp, v, old_lp, old_v, adv, ret, options);

  PpoLoss out;
  out.loss = t.loss;
  out.policy_loss = t.policy_loss;
  out.value_loss = t.value_loss;
  out.stats.policy_loss = t.policy_loss.item<double>();
  out.stats.value_loss = t.value_loss.item<double>();
  out.stats.loss = t.loss.item<double>();
  out.stats.approx_kl = 0.5 * mean_of((lp - old_lp).square());
  out.stats.policy_kl = mean_of(old_lp - lp);
  out.stats.clip_fraction = mean_of(t.policy_clipped.gt(t.policy).to(at::kDouble));
  out.stats.value_clip_fraction = mean_of(t.value_clipped.gt(t.value).to(at::kDouble));
  out.stats.ratio_mean = mean_of(t.ratio);
  out.stats.advantages_mean = mean_of(adv);
  out.stats.returns_mean = mean_of(ret);
  out.stats.returns_var = variance_of(ret);
  out.stats.value_mean = mean_of(v);
  out.stats.value_error = mean_of(t.value);
  out.stats.value_mean_old = mean_of(old_v);
  out.stats.value_var_old = variance_of(old_v);
  out.stats.skipped = t.skipped;

  const c10::AutoGradMode with_grad(true);
  const at::Tensor lp_leaf = lp.detach().clone().requires_grad_(), v_leaf = v.detach().clone().requires_grad_();
  const auto grads = torch::autograd::grad({terms_of(lp_leaf, v_leaf, old_lp, old_v, adv, ret, options).loss}, {lp_leaf, v_leaf});
  out.grad_logprobs = logprobs.detach().new_zeros(logprobs.sizes()).masked_scatter(mask, grads[0]);
  out.grad_values = values.detach().new_zeros(values.sizes()).masked_scatter(mask, grads[1]);
  return out;
}

}  // namespace prudent::kernels
