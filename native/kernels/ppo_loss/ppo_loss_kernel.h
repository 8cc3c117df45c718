// What the CPU and CUDA versions of ppo_loss take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// Sums over valid tokens, in fp64.
struct PpoSums {
  double policy, value, ratio, squared_difference, difference, clipped, value_clipped, advantage, returns, returns_squared,
      values, value_error, old_values, old_values_squared, count;
};
constexpr int kPpoSums = 15;

struct PpoLossArgs {
  const float *logprobs, *values, *old_logprobs, *old_values, *advantages, *returns;  // [batch, time]
  const int32_t* lengths;                                                             // [batch]
  float *grad_logprobs, *grad_values;                                                 // [batch, time]
  PpoSums* parts;  // [batch]; on CUDA [batch, ceil(time / kPpoCudaTokens)]
  PpoSums* total;  // [1], parts added in order
  float* losses;   // [3]: loss, policy loss, value loss
  int64_t batch, time;
  float clip_range, clip_range_value, vf_coef, ratio_threshold;
};

constexpr int64_t kPpoCudaTokens = 1024;  // of a row, for one block

PRUDENT_DECLARE_CPU_KERNEL(ppo_loss_run, PpoLossArgs)
void ppo_loss_run_cuda(const PpoLossArgs& args, void* stream);

}  // namespace prudent::kernels
