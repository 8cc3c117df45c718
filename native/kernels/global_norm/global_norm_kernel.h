// What the CPU and CUDA versions of global_norm take: raw pointers.
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
  const NormStretch* stretches;  // on CUDA in device memory
  double* sums;                  // [count] sums of squares
  int64_t count;
};

constexpr int64_t kNormStretch = 8192;  // items

PRUDENT_DECLARE_CPU_KERNEL(global_norm_run, GlobalNormArgs)
void global_norm_run_cuda(const GlobalNormArgs& args, void* stream);

}  // namespace prudent::kernels
