// What the CPU and CUDA versions of sample take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct SampleArgs {
  const void* logits;                   // [rows, vocab]
  const int64_t *row_keys, *positions;  // [rows]; CUDA draws from them
  const float* uniform;                 // [rows] in (0, 1); CPU, unread when greedy
  float* weights;                       // [rows, vocab] scratch; CPU, unread when greedy
  int32_t* order;                       // [rows, vocab] scratch; CPU, top-k and top-p only
  int64_t* ids;                         // [rows]; -1 where no logit of the row is finite
  int64_t rows, vocab, top_k;
  float inverse_temperature;
  double top_p;
  uint64_t seed;
  const int64_t* device_seed;  // in place of `seed`, or null; CUDA
  bool greedy, bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(sample_run, SampleArgs)
void sample_run_cuda(const SampleArgs& args, void* stream);

}  // namespace prudent::kernels
