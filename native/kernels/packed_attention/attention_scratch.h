// Scratch memory of the CPU versions of attention, and copies between bf16 or fp32 tensors and it. For _cpu.cpp files.
#pragma once

#include "kernels/common/vec.h"
#include "kernels/common/workspace.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

// The thread's workspace cut into pieces.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : data_(static_cast<float*>(thread_workspace(static_cast<std::size_t>(floats + 64) * sizeof(float)))), next_(data_) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void reset() { next_ = data_; }
  float* take(int64_t floats) {
    float* piece = next_;
    next_ += (floats + 15) / 16 * 16;
    return piece;
  }

  uint16_t* take_halves(int64_t halves) { return reinterpret_cast<uint16_t*>(take((halves + 1) / 2)); }

 private:
  float *data_, *next_;
};

// The first `seen` keys of a segment's chain, piece by piece: body(first token, how many, place in the chain).
template <typename Body>
PRUDENT_VEC void each_piece(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const Body& body) {
  int64_t place = 0;
  for (int64_t i = segment.pieces_begin; i < segment.pieces_end && place < seen; ++i) {
    const int64_t count = min_of(shape.pieces[i].count, seen - place);
    body(static_cast<int64_t>(shape.pieces[i].start), count, place);
    place += count;
  }
}

// to[t, j] = from[t, j] * factor, j padded with zeros up to `width`.
template <typename T>
PRUDENT_VEC void copy_rows(const T* from, int64_t stride, int64_t count, int64_t dim, int64_t width, float factor, float* to) {
  for (int64_t t = 0; t < count; ++t) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store(to + t * width + j, load_at(from + t * stride + j, n) * factor); });
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
