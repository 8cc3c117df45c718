#include "kernels/ppo_loss/ppo_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
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
  PpoLossStats* stats;
};

// The forward pass already knows the gradient; backward scales it.
struct PpoLossNode : torch::autograd::Function<PpoLossNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logprobs, const at::Tensor& values,
                            const Arguments* rest) {
    const PpoLoss result = ppo_loss(logprobs, values, rest->old_logprobs, rest->old_values, rest->advantages, rest->returns,
                                    rest->response_lengths, rest->options);
    context->save_for_backward({result.grad_logprobs, result.grad_values});
    if (rest->stats != nullptr) *rest->stats = result.stats;
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

PpoLossStats stats_of(const PpoSums& sums, int64_t tokens, const PpoLossOptions& options) {
  const double count = static_cast<double>(tokens);
  PpoLossStats stats;
  stats.skipped = ratio_exceeded(sums, tokens, static_cast<float>(options.ratio_threshold));
  stats.policy_loss = stats.skipped ? 0.0 : sums.policy / count;
  stats.value_loss = stats.skipped ? 0.0 : 0.5 * sums.value / count;
  stats.loss = stats.policy_loss + options.vf_coef * stats.value_loss;
  stats.approx_kl = 0.5 * sums.squared_difference / count;
  stats.policy_kl = sums.difference / count;
  stats.clip_fraction = sums.clipped / count;
  stats.value_clip_fraction = sums.value_clipped / count;
  stats.ratio_mean = sums.ratio / count;
  stats.advantages_mean = sums.advantage / count;
  stats.returns_mean = sums.returns / count;
  stats.returns_var = variance_of(sums.returns, sums.returns_squared, count);
  stats.value_mean = sums.values / count;
  stats.value_error = sums.value_error / count;
  stats.value_mean_old = sums.old_values / count;
  stats.value_var_old = variance_of(sums.old_values, sums.old_values_squared, count);
  return stats;
}

}  // namespace

PpoLoss ppo_loss(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                 const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                 const at::Tensor& response_lengths, const PpoLossOptions& options) {
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
  const at::Tensor sums = at::empty({lp.size(0) + 1, kPpoSums}, result.dtype(at::kDouble));
  PpoSums* rows = reinterpret_cast<PpoSums*>(sums.mutable_data_ptr<double>());
  const PpoLossArgs args{.logprobs = lp.const_data_ptr<float>(),
                         .values = v.const_data_ptr<float>(),
                         .old_logprobs = old_lp.const_data_ptr<float>(),
                         .old_values = old_v.const_data_ptr<float>(),
                         .advantages = adv.const_data_ptr<float>(),
                         .returns = ret.const_data_ptr<float>(),
                         .lengths = lengths.const_data_ptr<int32_t>(),
                         .grad_logprobs = out.grad_logprobs.mutable_data_ptr<float>(),
                         .grad_values = out.grad_values.mutable_data_ptr<float>(),
                         .rows = rows,
                         .total = rows + lp.size(0),
                         .batch = lp.size(0),
                         .time = lp.size(1),
                         .clip_range = static_cast<float>(options.clip_range),
                         .clip_range_value = static_cast<float>(options.clip_range_value),
                         .vf_coef = static_cast<float>(options.vf_coef),
                         .ratio_threshold = static_cast<float>(options.ratio_threshold)};
  PRUDENT_RUN_KERNEL(ppo_loss_run, args, lp);

  const at::Tensor total = sums.select(0, lp.size(0)).cpu();
  out.stats = stats_of(*reinterpret_cast<const PpoSums*>(total.const_data_ptr<double>()), lengths.sum().item<int64_t>(), options);
  out.loss = at::scalar_tensor(out.stats.loss, result);
  out.policy_loss = at::scalar_tensor(out.stats.policy_loss, result);
  out.value_loss = at::scalar_tensor(out.stats.value_loss, result);
  return out;
}

at::Tensor ppo_loss_node(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                         const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                         const at::Tensor& response_lengths, const PpoLossOptions& options, PpoLossStats* stats) {
  const Arguments rest{old_logprobs, old_values, advantages, returns, response_lengths, options, stats};
  return PpoLossNode::apply(logprobs, values, &rest);
}

}  // namespace prudent::kernels
