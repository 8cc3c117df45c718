#include <ATen/TensorOperators.h>
#include <ATen/ops/softplus.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "kernels/bradley_terry/bradley_terry.h"

namespace prudent::kernels {

namespace {

// beta 1 and a threshold that no score reaches: torch's softplus is linear above 20 by default.
at::Tensor loss_per_head_of(const at::Tensor& chosen, const at::Tensor& rejected) {
  return at::softplus(rejected - chosen, 1.0, 1e6).mean(0);
}

}  // namespace

BradleyTerry bradley_terry_reference(const at::Tensor& chosen, const at::Tensor& rejected) {
  BradleyTerry out;
  out.loss_per_head = loss_per_head_of(chosen, rejected);
  out.loss = out.loss_per_head.sum();
  out.accuracy_per_head = chosen.gt(rejected).to(chosen.scalar_type()).mean(0);
  const c10::AutoGradMode with_grad(true);
  const at::Tensor c = chosen.detach().clone().requires_grad_(), r = rejected.detach().clone().requires_grad_();
  const auto grads = torch::autograd::grad({loss_per_head_of(c, r).sum()}, {c, r});
  out.grad_chosen = grads[0];
  out.grad_rejected = grads[1];
  return out;
}

}  // namespace prudent::kernels
