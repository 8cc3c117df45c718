#include "training/optimizer.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

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
  check_range(options.bucket_bytes >= 1, "bucketBytes", "an integer >= 1", static_cast<double>(options.bucket_bytes));
}

// [parameters] the rank that keeps each one's state: the largest first, each to the rank that has least. -1: every rank.
std::vector<int> owners_of(const models::NamedTensors& parameters, const OptimizerOptions& options) {
  std::vector<int> owners(parameters.size(), -1);
  if (!options.shard_states || distributed::is_alone(options.group)) return owners;
  std::vector<size_t> order(parameters.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return parameters[a].second.numel() > parameters[b].second.numel(); });
  std::vector<int64_t> load(static_cast<size_t>(options.group->size()), 0);
  for (const size_t index : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += parameters[index].second.numel();
    owners[index] = static_cast<int>(least - load.begin());
  }
  return owners;
}

bool is_own(int owner, const OptimizerOptions& options) { return owner < 0 || owner == options.group->rank(); }

// Of the state that this rank keeps: two moments, and a master copy of what is not fp32.
OptimizerMemory make_memory(const models::NamedTensors& parameters, const OptimizerOptions& options) {
  const std::vector<int> owners = owners_of(parameters, options);
  int64_t numbers = 0, tensors = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!is_own(owners[i], options)) continue;
    const at::Tensor& parameter = parameters[i].second;
    const int64_t count = parameter.scalar_type() == at::kFloat ? 2 : 3;
    numbers += count * parameter.numel();
    tensors += count;
  }
  const at::Device device = parameters.empty() ? at::Device(at::kCPU) : parameters.front().second.device();
  return {options.state_folder, numbers, tensors, device};
}

}  // namespace

Optimizer::Optimizer(models::NamedTensors parameters, const OptimizerOptions& options)
    : options_(options), memory_(make_memory(parameters, options)) {
  check_options(options);
  PRUDENT_CHECK(!options.update_in_backward || distributed::is_alone(options.group), "E_UNSUPPORTED", "updateInBackward",
                "false with several ranks (gradients are summed over them first)", "true");
  check_same_weights(parameters, options.group);
  const c10::NoGradGuard no_grad;
  const std::vector<int> owners = owners_of(parameters, options);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, parameter] = parameters[i];
    Slot slot;
    slot.owner = owners[i];
    slot.owned = is_own(owners[i], options);
    slot.name = name;
    slot.parameter = parameter;
    // Shares the weights but not the autograd history, so that the update may write in place.
    slot.state.parameter = parameter.detach();
    if (slot.owned) make_state(slot);
    const bool decays = options.decay_scope == WeightDecayScope::All || parameter.dim() >= 2;
    slot.state.weight_decay = decays ? options.weight_decay : 0.0;
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::make_state(Slot& slot) {
  slot.state.moment1 = memory_.zeros_like(slot.state.parameter);
  slot.state.moment2 = memory_.zeros_like(slot.state.parameter);
  if (slot.state.parameter.scalar_type() == at::kFloat) return;
  slot.state.master = memory_.zeros_like(slot.state.parameter);
  slot.state.master.copy_(slot.state.parameter);
  memory_.release(slot.state.master, 0, slot.state.master.numel());
}

void Optimizer::check_parameters(const models::NamedTensors& parameters) const {
  bool same = parameters.size() == slots_.size();
  for (size_t i = 0; same && i < slots_.size(); ++i) same = parameters[i].second.is_same(slots_[i].parameter);
  PRUDENT_CHECK(same, "E_STATE", "model", "the parameters that the trainer was made with", "heads set or added since");
}

void Optimizer::drop_gradients() {
  reducer_.reset();
  taken_in_backward_ = false;
  for (Slot& slot : slots_) {
    slot.parameter.mutable_grad().reset();
    slot.sum.reset();
  }
}

void Optimizer::backward(const at::Tensor& loss, bool only_one) {
  if (taken_in_backward_) {
    loss.backward();
    return;
  }
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

void Optimizer::start_reducing() {
  if (distributed::is_alone(options_.group)) return;
  std::vector<at::Tensor> parameters;
  for (const Slot& slot : slots_) parameters.push_back(slot.parameter);
  const auto take = [this](size_t index) { return take_gradient(slots_[index]); };
  reducer_ = std::make_unique<GradientReducer>(options_.group, std::move(parameters), take, options_.bucket_bytes);
  reducer_->start();
  taken_in_backward_ = true;
}

void Optimizer::finish_reducing() {
  if (distributed::is_alone(options_.group)) return;
  if (reducer_ == nullptr) start_reducing();
  reducer_->finish([this](size_t index, const at::Tensor& gradient) {
    Slot& slot = slots_[index];
    if (!slot.sum) slot.sum.emplace(slot.state.parameter, at::kFloat);
    slot.sum->become(gradient.to(slot.parameter.device()));
  });
  reducer_.reset();
  taken_in_backward_ = false;
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

kernels::AdamwOptions Optimizer::adamw_options(double lr, double norm) const {
  kernels::AdamwOptions adamw;
  adamw.lr = lr;
  adamw.beta1 = options_.beta1;
  adamw.beta2 = options_.beta2;
  adamw.eps = options_.eps;
  adamw.step = step_ + 1;
  // torch.nn.utils.clip_grad_norm_'s coefficient
  if (options_.max_grad_norm > 0) adamw.gradient_scale = std::min(1.0, options_.max_grad_norm / (norm + 1e-6));
  return adamw;
}

void Optimizer::share_parameters() const {
  std::vector<at::Tensor> sent;
  std::vector<std::unique_ptr<distributed::PendingCollective>> pending;
  for (const Slot& slot : slots_) {
    if (!gradient(slot).defined()) continue;  // the same on all ranks: gradients have been summed
    sent.push_back(slot.state.parameter.cpu());
    pending.push_back(options_.group->start_broadcast(sent.back(), slot.owner));
  }
  auto next = sent.begin();
  for (const auto& one : pending) one->wait();
  for (const Slot& slot : slots_) {
    if (!gradient(slot).defined()) continue;
    at::Tensor parameter = slot.state.parameter;
    if (parameter.is_cpu()) {
      parameter.unsafeGetTensorImpl()->bump_version();  // written to behind libtorch's back
    } else if (!slot.owned) {
      parameter.copy_(*next);
    }
    ++next;
  }
}

double Optimizer::step(double lr) {
  check_range(std::isfinite(lr) && lr >= 0, "lr", "a number >= 0", lr);
  const c10::NoGradGuard no_grad;
  const double norm = gradient_norm();
  const kernels::AdamwOptions adamw = adamw_options(lr, norm);
  std::vector<kernels::AdamwParameter> updates;
  updates.reserve(slots_.size());
  for (const Slot& slot : slots_) {
    kernels::AdamwParameter update = slot.state;
    update.gradient = gradient(slot);
    if (!update.gradient.defined() || !slot.owned) continue;
    if (memory_.is_mapped()) {
      this->update(slot, update.gradient, adamw);
    } else {
      updates.push_back(std::move(update));
    }
  }
  kernels::adamw(updates, adamw);
  if (is_sharded()) share_parameters();
  ++step_;
  drop_gradients();
  return norm;
}

}  // namespace prudent::training
