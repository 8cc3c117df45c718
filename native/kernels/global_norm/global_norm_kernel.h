// What the CPU version of global_norm takes: raw pointers.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct NormStretch {
  const void* data;
  int64_t count;
  bool bf16;
};

struct GlobalNormArgs {
  const NormStretch* stretches;
  double* sums;  // [count] sums of squares
  int64_t count;
};

constexpr int64_t kNormStretch = 8192;  // items

PRUDENT_DECLARE_CPU_KERNEL(global_norm_run, GlobalNormArgs)

}  // namespace prudent::kernels
