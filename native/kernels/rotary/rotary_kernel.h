// What the CPU and CUDA versions of rotary take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct RotaryArgs {
  const void* x;             // [tokens, heads, head_dim], tokens apart by x_stride items
  const int64_t* positions;  // [tokens]
  const float *cos, *sin;    // [max_positions, head_dim / 2]
  void* y;                   // [tokens, heads, head_dim]
  int64_t tokens, heads, head_dim, x_stride;
  float sign;  // 1, or -1 to turn back: the gradient
  bool bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(rotary_rotate, RotaryArgs)
void rotary_rotate_cuda(const RotaryArgs& args, void* stream);

}  // namespace prudent::kernels
