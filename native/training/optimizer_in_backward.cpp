// Updates that do not wait for the end of the backward, and updates of a state that is not resident.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "kernels/global_norm/global_norm.h"
#include "training/gradient_hooks.h"
#include "training/optimizer.h"

namespace prudent::training {
namespace {

// Items that are updated at once where the state is mapped: 32 MiB of each moment and of the master weights are resident.
constexpr int64_t kWindow = int64_t{8} << 20;

}  // namespace

at::Tensor Optimizer::take_gradient(Slot& slot) {
  at::Tensor own = std::exchange(slot.parameter.mutable_grad(), at::Tensor());
  const std::optional<kernels::GradientSum> sum = std::exchange(slot.sum, std::nullopt);
  const at::Tensor values = sum ? sum->values() : at::Tensor();
  if (!values.defined()) return own.defined() ? own.contiguous() : own;
  return own.defined() ? values.add_(own) : values;
}

void Optimizer::update(const Slot& slot, const at::Tensor& gradient, const kernels::AdamwOptions& adamw) const {
  kernels::AdamwParameter whole = slot.state;
  whole.gradient = gradient;
  if (!memory_.is_mapped()) {
    kernels::adamw({whole}, adamw);
    return;
  }
  const int64_t count = whole.parameter.numel();
  const auto part = [](const at::Tensor& tensor, int64_t first, int64_t size) {
    return tensor.defined() ? tensor.view({-1}).narrow(0, first, size) : tensor;
  };
  for (int64_t first = 0; first < count; first += kWindow) {
    const int64_t size = std::min(kWindow, count - first);
    kernels::adamw({{.parameter = part(whole.parameter, first, size),
                     .gradient = part(whole.gradient, first, size),
                     .moment1 = part(whole.moment1, first, size),
                     .moment2 = part(whole.moment2, first, size),
                     .master = part(whole.master, first, size),
                     .weight_decay = whole.weight_decay}},
                   adamw);
    for (const at::Tensor& state : {whole.moment1, whole.moment2, whole.master}) {
      if (state.defined()) memory_.release(state, first, size);
    }
  }
}

double Optimizer::pass_in_backward(const BackwardPass& pass, const std::function<void(const Slot&, const at::Tensor&)>& each) {
  double squares = 0;
  const auto take = [&](size_t index) {
    Slot& slot = slots_[index];
    const at::Tensor values = take_gradient(slot);
    if (!values.defined()) return;
    const double norm = kernels::global_norm({values});
    PRUDENT_CHECK(std::isfinite(norm), "E_NON_FINITE", "gradient of " + slot.name, "a finite norm", std::to_string(norm));
    squares += norm * norm;
    each(slot, values);
  };
  std::vector<at::Tensor> parameters;
  for (const Slot& slot : slots_) parameters.push_back(slot.parameter);
  std::optional<GradientHooks> hooks;
  pass([&] {
    hooks.emplace(parameters, take);
    taken_in_backward_ = true;
  });
  hooks.reset();
  taken_in_backward_ = false;
  // What had a gradient in an earlier micro-batch alone.
  const c10::NoGradGuard no_grad;
  for (size_t index = 0; index < slots_.size(); ++index) take(index);
  return std::sqrt(squares);
}

std::optional<double> Optimizer::run(double lr, const BackwardPass& pass) {
  if (options_.update_in_backward) return step_in_backward(lr, pass);
  pass([&] { start_reducing(); });
  finish_reducing();
  return std::nullopt;
}

double Optimizer::step_in_backward(double lr, const BackwardPass& pass) {
  PRUDENT_CHECK(std::isfinite(lr) && lr >= 0, "E_RANGE", "lr", "a number >= 0", std::to_string(lr));
  double norm = 0;
  if (options_.max_grad_norm > 0) norm = pass_in_backward(pass, [](const Slot&, const at::Tensor&) {});
  const kernels::AdamwOptions adamw = adamw_options(lr, norm);
  const double seen =
      pass_in_backward(pass, [&](const Slot& slot, const at::Tensor& gradient) { update(slot, gradient, adamw); });
  ++step_;
  return options_.max_grad_norm > 0 ? norm : seen;
}

}  // namespace prudent::training
