// The device switch: a kernel runs where its tensors live.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"

#ifdef PRUDENT_CUDA
#include "kernels/common/cuda_stream.h"

// name_cuda(args, stream), or the CPU version for this machine's instruction set.
#define PRUDENT_RUN_KERNEL(name, args, tensor)                                                \
  do {                                                                                        \
    if ((tensor).is_cuda()) {                                                                 \
      ::prudent::kernels::name##_cuda(args, ::prudent::kernels::current_cuda_stream(tensor)); \
      ::prudent::kernels::check_cuda_launch(#name);                                           \
    } else {                                                                                  \
      PRUDENT_RUN_CPU_KERNEL(name, args);                                                     \
    }                                                                                         \
  } while (false)
#else
#define PRUDENT_RUN_KERNEL(name, args, tensor) PRUDENT_RUN_CPU_KERNEL(name, args)
#endif

namespace prudent::kernels {

// Is there a kernel for the device that the tensor lives on?
inline void check_device(const at::Tensor& tensor, const char* argument) {
#ifdef PRUDENT_CUDA
  const bool supported = tensor.device().is_cpu() || tensor.is_cuda();
#else
  const bool supported = tensor.device().is_cpu();
#endif
  PRUDENT_CHECK(supported, "E_DEVICE", argument, "a tensor on a device that this build has kernels for", describe(tensor));
}

}  // namespace prudent::kernels
