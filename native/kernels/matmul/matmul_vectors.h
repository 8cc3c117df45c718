// Products on vectors: operands are widened to fp32 when they are packed, sums are fp32. A group of rows of a block of 32 x 32
// results is summed in registers.
#pragma once

#include "kernels/common/operand.h"
#include "kernels/matmul/matmul_engine.h"
#include "kernels/matmul/matmul_floats.h"
#include "kernels/matmul/matmul_rounding.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kTile = 16;
constexpr int64_t kTileDepth = 16;
constexpr int64_t kTileBytes = kTile * kTileDepth * 4;  // [depth][16 rows or columns]
template <typename T>
constexpr int kPlanesOf = 1;
template <typename T>
constexpr int64_t chunk_depth = 192;  // 32 columns of it, and 8 rows at a time: 30 KiB
constexpr bool kTakesTileOrder = false;
constexpr bool kFinishesMeanwhile = false;  // the vector units have no time between products

struct Engine {};

// Rows whose sums stay in registers, each of two vectors: more than the latency of a multiplication with addition asks for.
#if defined(PRUDENT_ISA_avx512)
constexpr int kGroupRows = 8;
#elif defined(PRUDENT_ISA_avx2)
constexpr int kGroupRows = 6;
#else
constexpr int kGroupRows = 4;
#endif
constexpr int kLastRows = 2 * kTile % kGroupRows == 0 ? kGroupRows : 2 * kTile % kGroupRows;

// Rows `row` .. row + kRows - 1, two vectors of columns from `column` on. A group may reach over both halves of the left block.
template <int kRows, typename Meanwhile>
PRUDENT_VEC void multiply_group(const BlockProduct& product, float* block, int64_t row, int64_t column,
                                const Meanwhile& meanwhile) {
  constexpr int64_t kStep = 2 * kTileBytes / 4, kHalf = kTileBytes / 4, kColumns = 2 * kTile;
  const auto half_of = [](int64_t outer) __attribute__((always_inline)) { return outer / kTile * kHalf + outer % kTile; };
  const float* left = reinterpret_cast<const float*>(product.left);
  const float* right0 = reinterpret_cast<const float*>(product.right) + half_of(column);
  const float* right1 = reinterpret_cast<const float*>(product.right) + half_of(column + kWidth);
  float* results = block + row * kColumns + column;
  Vec sum[kRows][2];
#pragma GCC unroll 12
  for (int m = 0; m < kRows; ++m) {
    sum[m][0] = product.accumulate ? load(results + m * kColumns) : Vec{};
    sum[m][1] = product.accumulate ? load(results + m * kColumns + kWidth) : Vec{};
  }
  for (int64_t step = 0; step < product.steps; ++step, left += kStep, right0 += kStep, right1 += kStep) {
    meanwhile(step);
#pragma GCC unroll 4
    for (int64_t k = 0; k < kTileDepth; ++k) {
      const Vec first = load(right0 + k * kTile), second = load(right1 + k * kTile);
#pragma GCC unroll 12
      for (int m = 0; m < kRows; ++m) {
        const Vec value = broadcast(left[half_of(row + m) + k * kTile]);
        sum[m][0] += value * first;
        sum[m][1] += value * second;
      }
    }
  }
#pragma GCC unroll 12
  for (int m = 0; m < kRows; ++m) {
    store(results + m * kColumns, sum[m][0]);
    store(results + m * kColumns + kWidth, sum[m][1]);
  }
}

template <int kPlanes, typename Meanwhile>
PRUDENT_VEC void multiply_block(const BlockProduct& product, float* block, const Meanwhile& meanwhile) {
  const auto nothing = [](int64_t) __attribute__((always_inline)){};
  multiply_group<kGroupRows>(product, block, 0, 0, meanwhile);
#pragma GCC unroll 4
  for (int64_t column = 0; column < 2 * kTile; column += 2 * kWidth) {
#pragma GCC unroll 8
    for (int64_t row = 0; row < 2 * kTile; row += kGroupRows) {
      if (row >= product.rows || (row == 0 && column == 0)) continue;
      if (row + kGroupRows <= 2 * kTile) {
        multiply_group<kGroupRows>(product, block, row, column, nothing);
      } else {
        multiply_group<kLastRows>(product, block, row, column, nothing);
      }
    }
  }
}

// kWidth x kWidth values, transposed: in each round the blocks of `size` beside the diagonal of blocks twice that size change
// places.
PRUDENT_VEC void transpose(Vec (&r)[kWidth]) {
#pragma GCC unroll 4
  for (int size = 1; size < kWidth; size *= 2) {
    VecInt low, high;
    for (int i = 0; i < kWidth; ++i) {
      const bool odd = (i & size) != 0;
      low[i] = odd ? kWidth + i - size : i;
      high[i] = odd ? kWidth + i : i + size;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      if ((i & size) != 0) continue;
      const Vec a = r[i], b = r[i + size];
      r[i] = __builtin_shuffle(a, b, low);
      r[i + size] = __builtin_shuffle(a, b, high);
    }
  }
}

// n <= 0: nothing.
template <typename T>
PRUDENT_VEC Vec load_within(const T* from, int64_t n) {
  return n <= 0 ? Vec{} : load_at(from, min_of(n, kWidth));
}

template <Side kSide, typename T>
void pack_half(const Operand<T>& from, bool depth_contiguous, char* to_bytes) {
  float* to = reinterpret_cast<float*>(to_bytes);
  if (!depth_contiguous) {
    for (int64_t k = 0; k < kTileDepth; ++k) {
      for (int64_t i = 0; i < kTile; i += kWidth) {
        store(to + k * kTile + i, load_within(from.data + k * from.stride + i, k < from.depth ? from.outer - i : 0));
      }
    }
    return;
  }
  for (int64_t outer = 0; outer < kTile; outer += kWidth) {
    for (int64_t depth = 0; depth < kTileDepth; depth += kWidth) {
      Vec r[kWidth];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kWidth; ++i) {
        const int64_t n = outer + i < from.outer ? from.depth - depth : 0;
        r[i] = load_within(from.data + (outer + i) * from.stride + depth, n);
      }
      transpose(r);
#pragma GCC unroll 16
      for (int64_t k = 0; k < kWidth; ++k) store(to + (depth + k) * kTile + outer, r[k]);
    }
  }
}

// There is no shorter way than half by half.
template <typename T>
PRUDENT_VEC int64_t pack_left_steps(const Operand<T>&, int64_t, char*) {
  return 0;
}

}  // namespace prudent::kernels::PRUDENT_ISA
