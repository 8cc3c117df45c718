// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): the value depends on (key, counter) alone, so a row's
// numbers do not depend on the batch it sits in, on threads or on the device.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PRUDENT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define PRUDENT_HOST_DEVICE inline
#endif

namespace prudent {

struct Philox4 {
  uint32_t v[4];
};

PRUDENT_HOST_DEVICE Philox4 philox4x32(uint64_t key, uint64_t counter_high, uint64_t counter_low) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Philox4{{c0, c1, c2, c3}};
}

// Uniform in (0, 1): 24 bits, never 0 or 1.
PRUDENT_HOST_DEVICE float uniform_open(uint32_t bits) { return (static_cast<float>(bits >> 8) + 0.5f) * (1.0f / 16777216.0f); }

}  // namespace prudent
