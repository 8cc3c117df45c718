// What the CPU and CUDA versions of adamw take: raw pointers.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct AdamwEntry {
  void* parameter;
  const void* gradient;
  float *moment1, *moment2;
  float* master;  // or null
  int64_t count;
  int64_t first_chunk;  // number of chunks of the entries before this one
  float weight_decay;
  bool parameter_bf16, gradient_bf16;
  bool packs;  // every array begins at a multiple of 16 bytes
};

struct AdamwArgs {
  const AdamwEntry* entries;  // on CUDA in device memory
  int64_t entry_count, chunk_count;
  float lr, beta1, beta2, eps, gradient_scale;
  float gradient_weight1, gradient_weight2;  // 1 - beta, rounded once: 1 - 0.999f is off by 5e-5 of itself
  float step_size;                           // lr / (1 - beta1^step)
  float root_correction;                     // 1 / sqrt(1 - beta2^step)
};

constexpr int64_t kAdamwChunk = 8192;  // items of one task

PRUDENT_DECLARE_CPU_KERNEL(adamw_run, AdamwArgs)
void adamw_run_cuda(const AdamwArgs& args, void* stream);

}  // namespace prudent::kernels
