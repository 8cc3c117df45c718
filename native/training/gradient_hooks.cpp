#include "training/gradient_hooks.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <utility>

namespace prudent::training {
namespace {

struct Hook final : torch::autograd::PostAccumulateGradHook {
  Hook(std::function<void(size_t)> given, size_t number) : ready(std::move(given)), index(number) {}
  void operator()(const torch::autograd::Variable&) override {
    const c10::NoGradGuard no_grad;
    ready(index);
  }
  std::function<void(size_t)> ready;
  size_t index;
};

}  // namespace

GradientHooks::GradientHooks(std::vector<at::Tensor> parameters, std::function<void(size_t)> ready)
    : parameters_(std::move(parameters)) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[i], std::make_unique<Hook>(ready, i));
  }
}

GradientHooks::~GradientHooks() {
  for (const at::Tensor& parameter : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

}  // namespace prudent::training
