// PPO's clipped policy and value loss, its gradients and statistics in one pass (Schulman et al. 2017; classic TRL).
//   ratio = exp(logprobs - old_logprobs)
//   policy_loss = masked_mean(max(-A * ratio, -A * clip(ratio, 1 - c, 1 + c)))
//   value_loss  = 0.5 * masked_mean(max((V - R)^2, (clip(V, V_old - cv, V_old + cv) - R)^2))
//   loss = policy_loss + vf_coef * value_loss
// When masked_mean(ratio) > ratio_threshold the losses and gradients are multiplied by 0, as TRL does.
// Gradients at the edges are torch.clamp's (inclusive); TRL clips values with min/max of tensors, which at a value exactly on an
// edge shares the gradient between the branches.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

struct PpoLossOptions {
  double clip_range = 0.2;
  double clip_range_value = 0.2;
  double vf_coef = 0.1;
  double ratio_threshold = 10.0;
};

// Means are masked means over the valid tokens.
struct PpoLossStats {
  double policy_loss = 0, value_loss = 0, loss = 0;
  double approx_kl = 0;      // 0.5 * mean((logprobs - old)^2)
  double policy_kl = 0;      // mean(old - logprobs)
  double clip_fraction = 0;  // share of tokens where the clipped policy loss is the larger
  double value_clip_fraction = 0;
  double ratio_mean = 0;
  double advantages_mean = 0;
  double returns_mean = 0, returns_var = 0;  // unbiased (ddof 1, as TRL); 0 for one token
  double value_mean = 0, value_error = 0;    // mean((V - R)^2)
  double value_mean_old = 0, value_var_old = 0;
  bool skipped = false;  // ratio threshold exceeded
};

struct PpoLoss {
  at::Tensor loss, policy_loss, value_loss;  // [] fp32
  at::Tensor grad_logprobs, grad_values;     // [batch, time] fp32, 0 outside the valid positions
  at::Tensor sums;                           // [15] fp64 on the device: what the statistics are made of
  PpoLossStats stats;
};

// Waits for the device that `sums` is on; a copy of it on the CPU will do as well.
PpoLossStats ppo_loss_stats(const at::Tensor& sums, const PpoLossOptions& options);

// All [batch, time] fp32; response_lengths [batch] int32, 1 <= length <= time. No autograd (see ppo_loss_node).
PpoLoss ppo_loss(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                 const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                 const at::Tensor& response_lengths, const PpoLossOptions& options);
PpoLoss ppo_loss_reference(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                           const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                           const at::Tensor& response_lengths, const PpoLossOptions& options);

// The same loss as a node of the autograd graph of logprobs and values -> loss []. The statistics' sums come through `sums` when
// it is given, without the host waiting for the device.
at::Tensor ppo_loss_node(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                         const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                         const at::Tensor& response_lengths, const PpoLossOptions& options, at::Tensor* sums);

}  // namespace prudent::kernels
