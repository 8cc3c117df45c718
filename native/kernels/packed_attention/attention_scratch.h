// What the CPU versions of packed and cached attention share: scratch memory and copies between bf16 or fp32 tensors and fp32
// scratch. For _cpu.cpp files.
#pragma once

#include <stdlib.h>

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

// One allocation cut into pieces; freed with its task range.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : data_(static_cast<float*>(aligned_alloc(64, static_cast<size_t>((floats + 64) * 4 + 63) / 64 * 64))), next_(data_) {}
  ~Scratch() { free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void reset() { next_ = data_; }
  float* take(int64_t floats) {
    float* piece = next_;
    next_ += (floats + 15) / 16 * 16;
    return piece;
  }

 private:
  float *data_, *next_;
};

// to[t, j] = from[t, j] * factor, j padded with zeros up to `width`.
template <typename T>
PRUDENT_VEC void copy_rows(const T* from, int64_t stride, int64_t count, int64_t dim, int64_t width, float factor, float* to) {
  for (int64_t t = 0; t < count; ++t) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store(to + t * width + j, load_at(from + t * stride + j, n) * factor); });
  }
}

// to[j, t] = from[t, j]
template <typename T>
PRUDENT_VEC void copy_transposed(const T* from, int64_t stride, int64_t count, int64_t dim, int64_t width, float* to) {
  for (int64_t j = 0; j < dim; ++j) {
    for (int64_t t = 0; t < count; ++t) to[j * width + t] = to_float(from[t * stride + j]);
  }
}

template <typename T>
PRUDENT_VEC void write_rows(const float* from, int64_t width, int64_t count, int64_t dim, float factor, T* to, int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store_at(to + t * stride + j, load(from + t * width + j) * factor, n); });
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
