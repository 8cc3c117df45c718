// Bradley-Terry loss of all heads with its gradient in one pass (paper, section 4, equation of the pairwise loss).
//   loss_n = mean_i softplus(-(chosen[i, n] - rejected[i, n]));  loss = sum_n loss_n;  accuracy_n = mean_i [chosen > rejected]
// A tie is not accurate (RewardBench's rule).
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

struct BradleyTerry {
  at::Tensor loss;               // [] fp32, the sum over heads
  at::Tensor loss_per_head;      // [heads] fp32
  at::Tensor accuracy_per_head;  // [heads] fp32
  at::Tensor grad_chosen;        // [pairs, heads] fp32, d loss / d chosen
  at::Tensor grad_rejected;      // [pairs, heads] fp32
};

// chosen, rejected [pairs, heads] fp32; no autograd.
BradleyTerry bradley_terry(const at::Tensor& chosen, const at::Tensor& rejected);
BradleyTerry bradley_terry_reference(const at::Tensor& chosen, const at::Tensor& rejected);

// The same loss as a node of the autograd graph -> loss [] (the statistics come through `out` when it is given).
at::Tensor bradley_terry_loss(const at::Tensor& chosen, const at::Tensor& rejected, BradleyTerry* out = nullptr);

}  // namespace prudent::kernels
