#include "kernels/ppo_loss/ppo_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/ppo_loss/ppo_loss_kernel.h"
#include "kernels/ppo_loss/ppo_loss_math.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Arguments {
  const at::Tensor &old_logprobs, &old_values, &advantages, &returns, &response_lengths;
  const PpoLossOptions& options;
  at::Tensor* sums;
};

PpoLoss run(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs, const at::Tensor& old_values,
            const at::Tensor& advantages, const at::Tensor& returns, const at::Tensor& response_lengths,
            const PpoLossOptions& options);

// The forward pass already knows the gradient; backward scales it.
struct PpoLossNode : torch::autograd::Function<PpoLossNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logprobs, const at::Tensor& values,
                            const Arguments* rest) {
    const PpoLoss result = run(logprobs, values, rest->old_logprobs, rest->old_values, rest->advantages, rest->returns,
                               rest->response_lengths, rest->options);
    context->save_for_backward({result.grad_logprobs, result.grad_values});
    if (rest->sums != nullptr) *rest->sums = result.sums;
    return result.loss;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    return {grads[0] * saved[0], grads[0] * saved[1], at::Tensor()};
  }
};

void check_token_array(const at::Tensor& tensor, const char* argument, const at::Tensor& like) {
  check_dtype(tensor, argument, at::kFloat);
  check_shape(tensor, argument, {like.size(0), like.size(1)});
  check_same_device(tensor, argument, like);
}

// Unbiased, as TRL's masked_var; that of a single token counts as 0.
double variance_of(double sum, double sum_of_squares, double count) {
  if (count < 2) return 0.0;
  const double variance = (sum_of_squares - sum * sum / count) / (count - 1);
  return variance > 0.0 ? variance : 0.0;
}

PpoLoss run(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs, const at::Tensor& old_values,
            const at::Tensor& advantages, const at::Tensor& returns, const at::Tensor& response_lengths,
            const PpoLossOptions& options) {
  check_dtype(logprobs, "logprobs", at::kFloat);
  check_dims(logprobs, "logprobs", 2, "[batch, time]");
  PRUDENT_CHECK(logprobs.numel() > 0, "E_SHAPE", "logprobs", "at least one token", describe(logprobs));
  check_token_array(values, "values", logprobs);
  check_token_array(old_logprobs, "old_logprobs", logprobs);
  check_token_array(old_values, "old_values", logprobs);
  check_token_array(advantages, "advantages", logprobs);
  check_token_array(returns, "returns", logprobs);
  check_dtype(response_lengths, "response_lengths", at::kInt);
  check_shape(response_lengths, "response_lengths", {logprobs.size(0)});
  check_same_device(response_lengths, "response_lengths", logprobs);
  check_range(response_lengths, "response_lengths", 1, logprobs.size(1));
  check_device(logprobs, "logprobs");

  const at::Tensor lp = logprobs.contiguous(), v = values.contiguous(), old_lp = old_logprobs.contiguous();
  const at::Tensor old_v = old_values.contiguous(), adv = advantages.contiguous(), ret = returns.contiguous();
  const at::Tensor lengths = response_lengths.contiguous();
  const auto result = lp.options().requires_grad(false);
  PpoLoss out;
  out.grad_logprobs = at::empty(lp.sizes(), result);
  out.grad_values = at::empty(lp.sizes(), result);
  const int64_t parts = lp.size(0) * (runs_cuda_kernels(lp) ? (lp.size(1) + kPpoCudaTokens - 1) / kPpoCudaTokens : 1);
  const at::Tensor partial = at::empty({parts, kPpoSums}, result.dtype(at::kDouble)), losses = at::empty({3}, result);
  out.sums = at::empty({kPpoSums}, result.dtype(at::kDouble));
  const PpoLossArgs args{.logprobs = lp.const_data_ptr<float>(),
                         .values = v.const_data_ptr<float>(),
                         .old_logprobs = old_lp.const_data_ptr<float>(),
                         .old_values = old_v.const_data_ptr<float>(),
                         .advantages = adv.const_data_ptr<float>(),
                         .returns = ret.const_data_ptr<float>(),
                         .lengths = lengths.const_data_ptr<int32_t>(),
                         .grad_logprobs = out.grad_logprobs.mutable_data_ptr<float>(),
                         .grad_values = out.grad_values.mutable_data_ptr<float>(),
                         .parts = reinterpret_cast<PpoSums*>(partial.mutable_data_ptr<double>()),
                         .total = reinterpret_cast<PpoSums*>(out.sums.mutable_data_ptr<double>()),
                         .losses = losses.mutable_data_ptr<float>(),
                         .batch = lp.size(0),
                         .time = lp.size(1),
                         .clip_range = static_cast<float>(options.clip_range),
                         .clip_range_value = static_cast<float>(options.clip_range_value),
                         .vf_coef = static_cast<float>(options.vf_coef),
                         .ratio_threshold = static_cast<float>(options.ratio_threshold)};
  PRUDENT_RUN_KERNEL(ppo_loss_run, args, lp);

  out.loss = losses.select(0, 0);
  out.policy_loss = losses.select(0, 1);
  out.value_loss = losses.select(0, 2);
  return out;
}

}  // namespace

PpoLossStats ppo_loss_stats(const at::Tensor& sums, const PpoLossOptions& options) {
  const at::Tensor on_cpu = sums.cpu();
  check_dtype(on_cpu, "sums", at::kDouble);
  check_shape(on_cpu, "sums", {kPpoSums});
  const PpoSums& total = *reinterpret_cast<const PpoSums*>(on_cpu.const_data_ptr<double>());
  const double count = total.count;
  PpoLossStats stats;
  stats.skipped = ratio_exceeded(total, static_cast<float>(options.ratio_threshold));
  stats.policy_loss = stats.skipped ? 0.0 : total.policy / count;
  stats.value_loss = stats.skipped ? 0.0 : 0.5 * total.value / count;
  stats.loss = stats.policy_loss + options.vf_coef * stats.value_loss;
  stats.approx_kl = 0.5 * total.squared_difference / count;
  stats.policy_kl = total.difference / count;
  stats.clip_fraction = total.clipped / count;
  stats.value_clip_fraction = total.value_clipped / count;
  stats.ratio_mean = total.ratio / count;
  stats.advantages_mean = total.advantage / count;
  stats.returns_mean = total.returns / count;
  stats.returns_var = variance_of(total.returns, total.returns_squared, count);
  stats.value_mean = total.values / count;
  stats.value_error = total.value_error / count;
  stats.value_mean_old = total.old_values / count;
  stats.value_var_old = variance_of(total.old_values, total.old_values_squared, count);
  return stats;
}

PpoLoss ppo_loss(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                 const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                 const at::Tensor& response_lengths, const PpoLossOptions& options) {
  PpoLoss out = run(logprobs, values, old_logprobs, old_values, advantages, returns, response_lengths, options);
  out.stats = ppo_loss_stats(out.sums, options);
  return out;
}

at::Tensor ppo_loss_node(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                         const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                         const at::Tensor& response_lengths, const PpoLossOptions& options, at::Tensor* sums) {
  const Arguments rest{old_logprobs, old_values, advantages, returns, response_lengths, options, sums};
  return PpoLossNode::apply(logprobs, values, &rest);
}

}  // namespace prudent::kernels
