// The device switch: a kernel runs where its tensors live.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"

#if defined(PRUDENT_CUDA)
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
#elif defined(PRUDENT_CUDA_EMULATED)
// Tests without a GPU: the CUDA version, executed on the CPU (native/tests/cuda_emulator).
#define PRUDENT_RUN_KERNEL(name, args, tensor) ::prudent::kernels::name##_cuda(args, nullptr)
#else
#define PRUDENT_RUN_KERNEL(name, args, tensor) PRUDENT_RUN_CPU_KERNEL(name, args)
#endif

namespace prudent::kernels {

// Do kernels over this tensor run their CUDA version?
inline bool runs_cuda_kernels([[maybe_unused]] const at::Tensor& tensor) {
#if defined(PRUDENT_CUDA)
  return tensor.is_cuda();
#elif defined(PRUDENT_CUDA_EMULATED)
  return true;
#else
  return false;
#endif
}

// Is there a kernel for the device that the tensor lives on?
inline void check_device(const at::Tensor& tensor, const char* argument) {
  PRUDENT_CHECK(tensor.device().is_cpu() || runs_cuda_kernels(tensor), "E_DEVICE", argument,
                "a tensor on a device that this build has kernels for", describe(tensor));
}

}  // namespace prudent::kernels
