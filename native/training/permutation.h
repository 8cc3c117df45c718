// Seeded order of the rows: the same on every platform, unlike std::shuffle.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "core/philox.h"

namespace prudent::training {

// Fisher-Yates with draw i of stream (seed, epoch) from Philox.
inline std::vector<int64_t> seeded_permutation(int64_t count, uint64_t seed, uint64_t epoch) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = count - 1; i > 0; --i) {
    const Philox4 draw = philox4x32(seed, epoch, static_cast<uint64_t>(i));
    // 32 random bits spread over i + 1 < 2^31 places: a bias below 2^-32 * (i + 1) per place.
    const uint64_t place = (static_cast<uint64_t>(draw.v[0]) * static_cast<uint64_t>(i + 1)) >> 32;
    std::swap(order[i], order[place]);
  }
  return order;
}

}  // namespace prudent::training
