// The 2-norm of a list of tensors taken together, as torch.nn.utils.clip_grad_norm_ measures it, in one pass over all of them:
//   sqrt(sum_i sum_j x_i[j]^2)
// Squares are added up in fp32 within a stretch of 8192 items and in fp64 from there on: the result depends neither on the number
// of threads nor, beyond rounding, on how large the model is. The host waits for the device.
// No gradient: the norm only scales a step and is never differentiated.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace prudent::kernels {

// Tensors of any shape, fp32 | bf16, contiguous, on one device; 0 for an empty list. Not finite when an item is not.
double global_norm(const std::vector<at::Tensor>& tensors);
double global_norm_reference(const std::vector<at::Tensor>& tensors);

}  // namespace prudent::kernels
