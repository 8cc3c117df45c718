// One query against keys and values where they lie: for decoding, and for segments of which hardly any token is a query, where
// laying keys out for a matrix product would cost more than the product. For _cpu.cpp files.
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

// scores[s] = scale * q . k[s]; returns their maximum.
template <typename T>
PRUDENT_VEC float direct_scores(const T* q, const T* k, int64_t stride, int64_t count, int64_t dim, float scale, float* scores) {
  float max = -__builtin_inff();
  for (int64_t s = 0; s < count; ++s) {
    scores[s] = scale * dot(q, k + s * stride, dim);
    max = scores[s] > max ? scores[s] : max;
  }
  return max;
}

// weights -> exp(weights - max); returns their sum.
PRUDENT_VEC float direct_softmax(float* weights, int64_t count, float max) {
  Vec total = {};
  each_vector(
      count, [&](int64_t s, int64_t n) __attribute__((always_inline)) {
        const Vec e = exp(load_at(weights + s, n) - max);
        store_at(weights + s, e, n);
        total += load_at(weights + s, n);
      });
  return sum_lanes(total);
}

// sum[j] += sum_s weights[s] * v[s, j]; `sum` holds whole vectors.
template <typename T>
PRUDENT_VEC void direct_sum(const float* weights, const T* v, int64_t stride, int64_t count, int64_t dim, float* sum) {
  constexpr int64_t kStep = 4 * kWidth;  // in registers over all keys
  int64_t j = 0;
  for (; j + kStep <= dim; j += kStep) {
    Vec sum0 = load(sum + j), sum1 = load(sum + j + kWidth), sum2 = load(sum + j + 2 * kWidth), sum3 = load(sum + j + 3 * kWidth);
    for (int64_t s = 0; s < count; ++s) {
      const T* row = v + s * stride + j;
      sum0 += weights[s] * load(row);
      sum1 += weights[s] * load(row + kWidth);
      sum2 += weights[s] * load(row + 2 * kWidth);
      sum3 += weights[s] * load(row + 3 * kWidth);
    }
    store(sum + j, sum0);
    store(sum + j + kWidth, sum1);
    store(sum + j + 2 * kWidth, sum2);
    store(sum + j + 3 * kWidth, sum3);
  }
  for (; j < dim; j += kWidth) {
    const int64_t n = min_of(kWidth, dim - j);
    Vec total = load(sum + j);
    for (int64_t s = 0; s < count; ++s) total += weights[s] * load_at(v + s * stride + j, n);
    store(sum + j, total);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
