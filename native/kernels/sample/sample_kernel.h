// What the CPU and CUDA versions of sample take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct SampleArgs {
  const void* logits;                   // [rows, vocab]
  const int64_t *row_keys, *positions;  // [rows]; CUDA draws from them
  const float* uniform;                 // [rows] in (0, 1); CPU, unread when greedy
  float* weights;                       // [slots, vocab] scratch; CPU, top-k and top-p only
  int64_t* ids;                         // [rows]; -1 where no logit of the row is finite
  float* logprobs;  // [rows] or null: log-softmax of the drawn token's logit as it came, at temperature 1, unfiltered
  int64_t rows, vocab, top_k;
  int64_t slots;  // rows are shared out among so many tasks, each with its own scratch; CPU
  float inverse_temperature;
  double top_p;
  uint64_t seed;
  const int64_t* device_seed;  // in place of `seed`, or null; CUDA
  bool greedy, bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(sample_run, SampleArgs)
void sample_run_cuda(const SampleArgs& args, void* stream);

}  // namespace prudent::kernels
