// What the CPU and CUDA versions of activation_backward take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"
#include "kernels/geglu/geglu_kernel.h"

namespace prudent::kernels {

struct ActivationBackwardArgs {
  const void *grad_y, *u;  // [tokens, size]; u null: no activation
  void* grad_u;            // [tokens, size]; unused without an activation
  void* grad_bias;         // [size], or null
  float* partial;  // [blocks, size] with blocks = ceil(tokens / kActivationBlock), summed in order; unused without grad_bias
  int64_t tokens, size;
  GegluKind kind;
  bool bf16;
};

constexpr int64_t kActivationBlock = 32;  // tokens of one task

PRUDENT_DECLARE_CPU_KERNEL(activation_backward_run, ActivationBackwardArgs)
void activation_backward_run_cuda(const ActivationBackwardArgs& args, void* stream);

}  // namespace prudent::kernels
