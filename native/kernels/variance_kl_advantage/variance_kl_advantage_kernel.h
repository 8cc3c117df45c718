// What the CPU and CUDA versions of variance_kl_advantage take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// In the order of enum KlEstimator.
enum class KlKind : int { Kl, Abs, Mse, Full, K3 };

// Sums over the valid tokens of a row, in fp64 so that the variance survives a large mean.
struct RowMoments {
  double sum, sum_of_squares;
};

struct VarianceKlAdvantageArgs {
  const float *logprobs, *ref_logprobs, *values;  // [batch, time]
  const float *scores, *kl_weights;               // [batch]
  const int32_t* lengths;                         // [batch]
  const float* kl_per_token;                      // [batch, time], Full only
  float *rewards, *advantages, *returns, *kl;     // [batch, time]
  RowMoments* moments;                            // [batch], summed in row order
  int64_t batch, time;
  float gamma, lambda;
  bool whiten, whiten_rewards;
  KlKind kind;
};

PRUDENT_DECLARE_CPU_KERNEL(variance_kl_advantage_run, VarianceKlAdvantageArgs)
void variance_kl_advantage_run_cuda(const VarianceKlAdvantageArgs& args, void* stream);

}  // namespace prudent::kernels
