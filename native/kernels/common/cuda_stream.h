// The CUDA stream that libtorch works on, for callers that see no CUDA header. CUDA builds only.
#pragma once

#include <ATen/core/Tensor.h>

namespace prudent::kernels {

// Of the tensor's device.
void* current_cuda_stream(const at::Tensor& tensor);
// E_DEVICE when the last kernel could not be started.
void check_cuda_launch(const char* kernel);

}  // namespace prudent::kernels
