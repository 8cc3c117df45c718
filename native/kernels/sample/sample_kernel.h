// What the CPU version of sample takes: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct SampleArgs {
  const void* logits;    // [rows, vocab]
  const float* uniform;  // [rows] in (0, 1); unread when greedy
  float* weights;        // [slots, vocab] scratch, top-k and top-p only
  int64_t* ids;          // [rows]; -1 where no logit of the row is finite
  float* logprobs;       // [rows] or null: log-softmax of the drawn token's logit as it came, at temperature 1, unfiltered
  int64_t rows, vocab, top_k;
  int64_t slots;  // rows are shared out among so many tasks, each with its own scratch
  float inverse_temperature;
  double top_p;
  bool greedy, bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(sample_run, SampleArgs)

}  // namespace prudent::kernels
