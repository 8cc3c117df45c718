// A softmax that is taken piece by piece: shared by the CPU and CUDA versions of token_logprob and cached attention.
#pragma once

#include <math.h>

#include "kernels/common/host_device.h"

namespace prudent::kernels {

// exp(from - to) of two running maxima, `to` the larger; 0 where nothing had been seen.
PRUDENT_MATH float softmax_rescale(float from, float to) {
  if (from == to) return 1.0f;
  return from == -HUGE_VALF ? 0.0f : expf(from - to);
}

}  // namespace prudent::kernels
