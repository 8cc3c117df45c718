// How results of fp32 sums go to memory, and to their dtype's precision.
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

template <typename T>
PRUDENT_VEC void store_result(T* to, Vec x, int64_t n) {
  store_at(to, x, n);
}
template <typename T>
PRUDENT_VEC Vec rounded(Vec x) {
  return round_to<T>(x);
}

}  // namespace prudent::kernels::PRUDENT_ISA
