// What the CPU version of sample takes: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct SampleArgs {
  const void* logits;    // [rows, vocab]
  const float* uniform;  // [rows] in (0, 1); unread when greedy
  float* weights;        // [rows, vocab] scratch; unread when greedy
  int32_t* order;        // [rows, vocab] scratch, top-p only
  int64_t* ids;          // [rows]; -1 where no logit of the row is finite
  int64_t rows, vocab, top_k;
  float inverse_temperature;
  double top_p;
  bool greedy, bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(sample_run, SampleArgs)

}  // namespace prudent::kernels
