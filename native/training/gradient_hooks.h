// Does something with each parameter's gradient as soon as a backward has finished it, while the rest of the backward goes on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace prudent::training {

// A parameter's gradient is finished after the last of its uses, so `ready` may overwrite the parameter: nothing in the graph
// reads it any more. Exceptions of `ready` come out of backward().
class GradientHooks {
 public:
  // ready(index) with parameter.grad() whole; it may drop it. Called on the thread that runs the backward (CPU).
  GradientHooks(std::vector<at::Tensor> parameters, std::function<void(size_t index)> ready);
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

 private:
  std::vector<at::Tensor> parameters_;
};

}  // namespace prudent::training
