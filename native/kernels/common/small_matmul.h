// Register-blocked fp32 matrix product for kernels that multiply many small matrices, where a BLAS call per matrix would cost
// more than the product. Used by packed attention.
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

#if defined(PRUDENT_ISA_avx512)
constexpr int kTileRows = 8;
#elif defined(PRUDENT_ISA_avx2)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif

// a(m, k) = data[m * row + k * column]: a transposed operand is a swap of the strides.
struct Strided {
  const float* data;
  int64_t row, column;
};

template <int kRows, int kVectors>
PRUDENT_VEC void tile(int64_t depth, Strided a, const float* b, int64_t b_row, float* c, int64_t c_row, bool accumulate) {
  Vec sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[m][v] = accumulate ? load(c + m * c_row + v * kWidth) : Vec{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = load(b + k * b_row + v * kWidth);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const Vec left = broadcast(a.data[m * a.row + k * a.column]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[m][v] += left * right[v];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) store(c + m * c_row + v * kWidth, sum[m][v]);
  }
}

// Up to kTileRows rows of c; columns a multiple of kWidth.
template <int kRows>
PRUDENT_VEC void strip(int64_t columns, int64_t depth, Strided a, const float* b, int64_t b_row, float* c, int64_t c_row,
                       bool accumulate) {
  int64_t n = 0;
  for (; n + 2 * kWidth <= columns; n += 2 * kWidth) tile<kRows, 2>(depth, a, b + n, b_row, c + n, c_row, accumulate);
  if (n < columns) tile<kRows, 1>(depth, a, b + n, b_row, c + n, c_row, accumulate);
}

// c[rows, columns] = (accumulate ? c : 0) + a[rows, depth] * b[depth, columns]; columns a multiple of kWidth, rows of b and c
// contiguous. Sums run over depth in order: the result depends on nothing but the operands and the instruction set.
static __attribute__((noinline, unused)) void small_matmul(int64_t rows, int64_t columns, int64_t depth, Strided a,
                                                           const float* b, int64_t b_row, float* c, int64_t c_row,
                                                           bool accumulate) {
  int64_t m = 0;
  for (; m + kTileRows <= rows; m += kTileRows) {
    strip<kTileRows>(columns, depth, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row, accumulate);
  }
  for (; m + 2 <= rows; m += 2) {
    strip<2>(columns, depth, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row, accumulate);
  }
  if (m < rows) strip<1>(columns, depth, {a.data + m * a.row, a.row, a.column}, b, b_row, c + m * c_row, c_row, accumulate);
}

}  // namespace prudent::kernels::PRUDENT_ISA
