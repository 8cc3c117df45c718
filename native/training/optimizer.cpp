#include "training/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "core/error.h"
#include "kernels/global_norm/global_norm.h"

namespace prudent::training {
namespace {

void check_range(bool ok, const char* argument, const char* expected, double received) {
  PRUDENT_CHECK(ok, "E_RANGE", argument, expected, std::to_string(received));
}

void check_options(const OptimizerOptions& options) {
  check_range(options.beta1 >= 0 && options.beta1 < 1, "beta1", "a number in [0, 1)", options.beta1);
  check_range(options.beta2 >= 0 && options.beta2 < 1, "beta2", "a number in [0, 1)", options.beta2);
  check_range(std::isfinite(options.eps) && options.eps >= 0, "eps", "a number >= 0", options.eps);
  check_range(std::isfinite(options.weight_decay) && options.weight_decay >= 0, "weightDecay", "a number >= 0",
              options.weight_decay);
  check_range(std::isfinite(options.max_grad_norm) && options.max_grad_norm >= 0, "maxGradNorm", "a number >= 0",
              options.max_grad_norm);
}

}  // namespace

Optimizer::Optimizer(models::NamedTensors parameters, const OptimizerOptions& options) : options_(options) {
  check_options(options);
  const c10::NoGradGuard no_grad;
  for (auto& [name, parameter] : parameters) {
    Slot slot;
    slot.name = name;
    slot.parameter = parameter;
    // Shares the weights but not the autograd history, so that the update may write in place.
    slot.state.parameter = parameter.detach();
    slot.state.moment1 = at::zeros_like(slot.state.parameter, at::kFloat).contiguous();
    slot.state.moment2 = at::zeros_like(slot.state.moment1);
    if (parameter.scalar_type() != at::kFloat) slot.state.master = slot.state.parameter.to(at::kFloat);
    const bool decays = options.decay_scope == WeightDecayScope::All || parameter.dim() >= 2;
    slot.state.weight_decay = decays ? options.weight_decay : 0.0;
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::check_parameters(const models::NamedTensors& parameters) const {
  bool same = parameters.size() == slots_.size();
  for (size_t i = 0; same && i < slots_.size(); ++i) same = parameters[i].second.is_same(slots_[i].parameter);
  PRUDENT_CHECK(same, "E_STATE", "model", "the parameters that the trainer was made with", "heads set or added since");
}

void Optimizer::drop_gradients() {
  for (Slot& slot : slots_) {
    slot.parameter.mutable_grad().reset();
    slot.sum.reset();
  }
}

void Optimizer::backward(const at::Tensor& loss, bool only_one) {
  kernels::GradientSums sums;
  for (Slot& slot : slots_) {
    if (!slot.sum) slot.sum.emplace(slot.state.parameter, only_one ? slot.parameter.scalar_type() : at::kFloat);
    sums.emplace(slot.parameter.unsafeGetTensorImpl(), &*slot.sum);
  }
  {
    const kernels::ActiveGradientSums active(sums);
    loss.backward();
  }
  const c10::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    at::Tensor& gradient = slot.parameter.mutable_grad();
    if (!gradient.defined() || (!slot.sum->values().defined() && gradient.scalar_type() == slot.sum->dtype())) continue;
    slot.sum->add(gradient);
    gradient.reset();
  }
}

void Optimizer::zero_gradients() {
  const c10::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    if (slot.sum && slot.sum->values().defined()) slot.sum->values().zero_();
    if (slot.parameter.grad().defined()) slot.parameter.mutable_grad().zero_();
  }
}

at::Tensor Optimizer::gradient(const Slot& slot) const {
  const at::Tensor sum = slot.sum ? slot.sum->values() : at::Tensor();
  const at::Tensor& gradient = sum.defined() ? sum : slot.parameter.grad();
  return gradient.defined() ? gradient.contiguous() : gradient;
}

double Optimizer::gradient_norm() const {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  gradients.reserve(slots_.size());
  for (const Slot& slot : slots_) {
    at::Tensor values = gradient(slot);
    if (values.defined()) gradients.push_back(std::move(values));
  }
  const double norm = kernels::global_norm(gradients);
  PRUDENT_CHECK(std::isfinite(norm), "E_NON_FINITE", "gradient", "a finite norm", std::to_string(norm));
  return norm;
}

double Optimizer::step(double lr) {
  check_range(std::isfinite(lr) && lr >= 0, "lr", "a number >= 0", lr);
  const c10::NoGradGuard no_grad;
  const double norm = gradient_norm();
  kernels::AdamwOptions adamw;
  adamw.lr = lr;
  adamw.beta1 = options_.beta1;
  adamw.beta2 = options_.beta2;
  adamw.eps = options_.eps;
  adamw.step = step_ + 1;
  if (options_.max_grad_norm > 0) {
    // torch.nn.utils.clip_grad_norm_'s coefficient
    adamw.gradient_scale = std::min(1.0, options_.max_grad_norm / (norm + 1e-6));
  }
  std::vector<kernels::AdamwParameter> updates;
  updates.reserve(slots_.size());
  for (const Slot& slot : slots_) {
    kernels::AdamwParameter update = slot.state;
    update.gradient = gradient(slot);
    if (update.gradient.defined()) updates.push_back(std::move(update));
  }
  kernels::adamw(updates, adamw);
  ++step_;
  drop_gradients();
  return norm;
}

}  // namespace prudent::training
