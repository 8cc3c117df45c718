// Loops over a row by pairs of vectors (vec.h, VecPair), for <op>_cpu.cpp files. One body serves whole pairs and the row's end:
// n is 2 * kWidth, except at the end. A row of fp32 sums beside bf16 rows holds them in the pairs' order; what reads it by the
// same loop finds them there.
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kPair = 2 * kWidth;

// step(j, n) on [0, count).
template <typename Step>
PRUDENT_VEC void each_pair(int64_t count, const Step& step) {
  int64_t j = 0;
  for (; j + kPair <= count; j += kPair) step(j, kPair);
  if (j < count) step(j, count - j);
}

// The first n items; the rest reads as 0 and is not touched.
template <typename T>
PRUDENT_VEC VecPair load_pair_at(const T* p, int64_t n) {
  if (n == kPair) return load_pair(p);
  if (n <= kWidth) return {load_at(p, n), Vec{}};
  return {load(p), load_some(p + kWidth, n - kWidth)};
}
template <typename T>
PRUDENT_VEC void store_pair_at(T* p, VecPair v, int64_t n) {
  if (n == kPair) return store_pair(p, v);
  store_at(p, v.even, min_of(n, kWidth));
  if (n > kWidth) store_some(p + kWidth, v.odd, n - kWidth);
}
PRUDENT_VEC VecPair first_of_pair(VecPair v, int64_t n) {
  if (n == kPair) return v;
  return {first_lanes(v.even, min_of(n, kWidth)), first_lanes(v.odd, n > kWidth ? n - kWidth : 0)};
}

// f on the vectors at even places and on those at odd ones.
template <typename Function, typename... Pairs>
PRUDENT_VEC VecPair by_halves(const Function& f, const Pairs&... pairs) {
  return {f(pairs.even...), f(pairs.odd...)};
}
PRUDENT_VEC void add_to(VecPair& sum, VecPair v) {
  sum.even += v.even;
  sum.odd += v.odd;
}
PRUDENT_VEC VecPair product(VecPair a, VecPair b) { return {a.even * b.even, a.odd * b.odd}; }
PRUDENT_VEC float sum_pair(VecPair v) { return sum_lanes(v.even + v.odd); }

// Asks for the memory of one step, of a row that comes `ahead` items later. In fp32, where memory is all there is to wait for, a
// nearer place is better: what is asked for so early would push the rows at work out of the first cache.
template <int kWrite = 0, typename T>
PRUDENT_VEC void fetch_pair(const T* p, int64_t ahead) {
  constexpr int64_t kLine = 64, kItem = sizeof(T), kFarthest = kItem == 4 ? 2048 : 8192;
  const char* const first = reinterpret_cast<const char*>(p + min_of(ahead, kFarthest / kItem));
  __builtin_prefetch(first, kWrite);
  if constexpr (kPair * kItem > kLine) __builtin_prefetch(first + kLine, kWrite);
}

}  // namespace prudent::kernels::PRUDENT_ISA
