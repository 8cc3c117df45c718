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
// Columns of one register block. Matrices are padded to a multiple of it.
constexpr int64_t kPanel = 2 * kWidth;
PRUDENT_VEC int64_t round_up_to_panel(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// a(m, k) = data[m * row + k * column]: a transposed operand is a swap of the strides.
struct Strided {
  const float* data;
  int64_t row, column;
};

// b in panels of kPanel columns: b(k, n) = data[n / kPanel * step + k * row + n % kPanel].
struct Panels {
  const float* data;
  int64_t row, step;
};
// Row-major with `width` columns.
PRUDENT_VEC Panels row_major(const float* data, int64_t width) { return {data, width, kPanel}; }
// Panel after panel, each [depth, kPanel] in one stretch: no two rows fall on the same cache lines' places.
PRUDENT_VEC Panels panel_major(const float* data, int64_t depth) { return {data, kPanel, depth * kPanel}; }

template <int kRows>
PRUDENT_VEC void tile(int64_t depth, Strided a, const float* b, int64_t b_row, float* c, int64_t c_row, bool accumulate) {
  Vec sum[kRows][2];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    sum[m][0] = accumulate ? load(c + m * c_row) : Vec{};
    sum[m][1] = accumulate ? load(c + m * c_row + kWidth) : Vec{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    const Vec right0 = load(b + k * b_row), right1 = load(b + k * b_row + kWidth);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const Vec left = broadcast(a.data[m * a.row + k * a.column]);
      sum[m][0] += left * right0;
      sum[m][1] += left * right1;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
    store(c + m * c_row, sum[m][0]);
    store(c + m * c_row + kWidth, sum[m][1]);
  }
}

// c[rows, columns] = (accumulate ? c : 0) + a[rows, depth] * b[depth, columns]; columns a multiple of kPanel. Sums run over depth
// in order: the result depends on nothing but the operands and the instruction set.
static __attribute__((noinline, unused)) void small_matmul(int64_t rows, int64_t columns, int64_t depth, Strided a, Panels b,
                                                           float* c, int64_t c_row, bool accumulate) {
  for (int64_t n = 0; n < columns; n += kPanel) {
    const float* panel = b.data + n / kPanel * b.step;
    int64_t m = 0;
    const auto at = [&](int64_t row) __attribute__((always_inline)) { return Strided{a.data + row * a.row, a.row, a.column}; };
    for (; m + kTileRows <= rows; m += kTileRows) {
      tile<kTileRows>(depth, at(m), panel, b.row, c + m * c_row + n, c_row, accumulate);
    }
    for (; m + 2 <= rows; m += 2) tile<2>(depth, at(m), panel, b.row, c + m * c_row + n, c_row, accumulate);
    if (m < rows) tile<1>(depth, at(m), panel, b.row, c + m * c_row + n, c_row, accumulate);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
