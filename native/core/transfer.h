// Small tensors on their way from the host to the device of a model.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent {

// On CUDA through page-locked memory: the host goes on at once, where a plain copy would wait for all that the stream still has
// to do. A tensor for the CPU is handed back as it is.
at::Tensor to_device(const at::Tensor& host, const at::Device& device);

}  // namespace prudent
