// One pair under one head: shared by the CPU and CUDA versions.
#pragma once

#include <math.h>

#include "kernels/common/host_device.h"

namespace prudent::kernels {

struct PairTerm {
  float loss;   // softplus(-(chosen - rejected))
  float slope;  // d loss / d chosen = -sigmoid(-(chosen - rejected)); its negative for rejected
};

PRUDENT_MATH PairTerm pair_term(float chosen, float rejected) {
  const float margin = chosen - rejected;
  const float small = expf(-fabsf(margin));  // never overflows
  const float loss = log1pf(small) + fmaxf(-margin, 0.0f);
  const float slope = margin >= 0.0f ? -small / (1.0f + small) : -1.0f / (1.0f + small);
  return {loss, slope};
}

}  // namespace prudent::kernels
