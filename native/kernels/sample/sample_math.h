// Weights and orders of sample's CUDA version that its tests on the CPU go through as well.
#pragma once

#include <math.h>

#include <cstdint>

#include "kernels/common/host_device.h"

namespace prudent::kernels {

// A token's weight exp(scaled logit), in (0, 1], in units of 2^-44: sums of up to 2^19 of them fit 64 bits and come out the same
// in whatever order threads add.
constexpr float kWeightUnits = 17592186044416.0f;
constexpr int64_t kLargestSampleVocab = int64_t{1} << 19;

PRUDENT_MATH float scaled_logit(float logit, float top, float inverse_temperature) { return (logit - top) * inverse_temperature; }

PRUDENT_MATH unsigned long long fixed_weight(float scaled) {
  return static_cast<unsigned long long>(expf(scaled) * kWeightUnits);
}

// Unsigned numbers in the order of the floats that they are made from.
PRUDENT_MATH uint32_t ordered_bits(float x) {
  union {
    float number;
    uint32_t bits;
  } as = {x};
  return as.bits & 0x80000000u ? ~as.bits : as.bits | 0x80000000u;
}

// The tokens that top-k and top-p leave: all that rank before a place in the order of logits, lower ids first among equals.
struct KeptTokens {
  uint32_t least;   // ordered bits of the last logit
  int64_t last_id;  // the highest id with that very logit
};
PRUDENT_MATH bool is_kept(KeptTokens kept, uint32_t bits, int64_t id) {
  return bits > kept.least || (bits == kept.least && id <= kept.last_id);
}

// How much of the weight top-p must hold: at least the best token's.
PRUDENT_MATH unsigned long long top_p_goal(double top_p, unsigned long long total) {
  const unsigned long long goal = static_cast<unsigned long long>(ceil(top_p * static_cast<double>(total)));
  return goal < 1 ? 1 : goal > total ? total : goal;
}

}  // namespace prudent::kernels
