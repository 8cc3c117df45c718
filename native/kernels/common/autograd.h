// What the autograd nodes of several operations share.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "core/error.h"

namespace prudent::kernels {

// An argument of a node that may be missing has to be an optional: apply() reads the device of every tensor that it is given.
inline std::optional<at::Tensor> optional_of(const at::Tensor& tensor) {
  return tensor.defined() ? std::make_optional(tensor) : std::nullopt;
}
inline at::Tensor value_of(const std::optional<at::Tensor>& tensor) { return tensor.value_or(at::Tensor()); }

// Will a backward come for an operation on these inputs, undefined ones among them?
inline bool is_differentiated(std::initializer_list<at::Tensor> inputs) {
  return at::GradMode::is_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& tensor) {
           return tensor.defined() && tensor.requires_grad();
         });
}

// Of operations that have no gradient. E_STATE
inline void check_not_differentiated(std::initializer_list<at::Tensor> inputs) {
  PRUDENT_CHECK(!is_differentiated(inputs), "E_STATE", "weights", "weights with gradients", "quantised ones");
}

}  // namespace prudent::kernels
