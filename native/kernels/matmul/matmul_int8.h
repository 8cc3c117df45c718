// Products in 8-bit integers on vectors with VNNI: weights come quantised (int8_weights.h), rows of the left operand are
// quantised when they are packed, each by its own largest value. Sums are exact, in int32, and become fp32 when the last of the
// depth is in. An instruction multiplies unsigned by signed bytes: weights are kept 128 higher, and what that adds to a row's
// sums is taken off.
#pragma once

#include "kernels/common/operand.h"
#include "kernels/matmul/matmul_engine.h"
#include "kernels/matmul/matmul_kernel.h"
#include "kernels/matmul/matmul_rounding.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kTile = 16;
constexpr int64_t kTileDepth = 64;
constexpr int64_t kTileBytes = kTile * kTileDepth;  // left: [16 rows][depth], right: [depth / 4][16 columns][4]
template <typename T>
constexpr int kPlanesOf = 1;
template <typename T>
constexpr int64_t chunk_depth = 768;
constexpr bool kPacksLeftWhole = true;
template <typename T>
using RightItem = int8_t;
constexpr bool kTakesTileOrder = false;
constexpr bool kFinishesMeanwhile = false;

struct Engine {};

// At the end of a packed left block: of each row its scale, and what the weights' offset adds to its sums.
struct BlockEnd {
  float scale[2 * kTile];
  int32_t excess[2 * kTile];
};
constexpr int64_t kBlockEndBytes = sizeof(BlockEnd);
constexpr int kWeightOffset = 128;

PRUDENT_VEC VecInt load_ints(const void* from) {
  VecInt v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
PRUDENT_VEC void store_ints(void* to, VecInt v) { __builtin_memcpy(to, &v, sizeof v); }
PRUDENT_VEC VecInt all_ints(int32_t x) { return x - VecInt{}; }

// sum += the four products of unsigned `weights` and signed `values` in each 32 bits.
PRUDENT_VEC VecInt add_products(VecInt sum, VecInt weights, VecInt values) {
  return __builtin_bit_cast(VecInt, _mm512_dpbusd_epi32(__builtin_bit_cast(__m512i, sum), __builtin_bit_cast(__m512i, weights),
                                                        __builtin_bit_cast(__m512i, values)));
}

constexpr int kGroupRows = 8;

// Rows `row` .. row + 7 of a block, its 32 columns. The block's memory holds integers until finish_block.
template <typename Meanwhile>
PRUDENT_VEC void multiply_group(const BlockProduct& product, float* block, int64_t row, const Meanwhile& meanwhile) {
  const char* left = product.left + row / kTile * kTileBytes + row % kTile * kTileDepth;
  const char* right = product.right;
  float* results = block + row * 2 * kTile;
  VecInt sum[kGroupRows][2];
#pragma GCC unroll 8
  for (int m = 0; m < kGroupRows; ++m) {
    sum[m][0] = product.accumulate ? load_ints(results + m * 2 * kTile) : VecInt{};
    sum[m][1] = product.accumulate ? load_ints(results + m * 2 * kTile + kTile) : VecInt{};
  }
  for (int64_t step = 0; step < product.steps; ++step, left += 2 * kTileBytes, right += 2 * kTileBytes) {
    meanwhile(step);
#pragma GCC unroll 4
    for (int64_t k = 0; k < kTileDepth / 4; ++k) {
      const VecInt first = load_ints(right + k * 64), second = load_ints(right + kTileBytes + k * 64);
#pragma GCC unroll 8
      for (int m = 0; m < kGroupRows; ++m) {
        int32_t four;
        __builtin_memcpy(&four, left + m * kTileDepth + k * 4, sizeof four);
        const VecInt values = all_ints(four);
        sum[m][0] = add_products(sum[m][0], first, values);
        sum[m][1] = add_products(sum[m][1], second, values);
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kGroupRows; ++m) {
    store_ints(results + m * 2 * kTile, sum[m][0]);
    store_ints(results + m * 2 * kTile + kTile, sum[m][1]);
  }
}

template <int kPlanes, typename Meanwhile>
PRUDENT_VEC void multiply_block(const BlockProduct& product, float* block, const Meanwhile& meanwhile) {
  multiply_group(product, block, 0, meanwhile);
  for (int64_t row = kGroupRows; row < product.rows; row += kGroupRows) {
    multiply_group(product, block, row, [](int64_t) __attribute__((always_inline)){});
  }
}

PRUDENT_VEC Vec column_scale(const float* scale, int64_t column, int64_t columns) {
  return column < columns ? load_at(scale + column, min_of(kWidth, columns - column)) : Vec{};
}

// Sums of integers become results.
PRUDENT_VEC void finish_block(const MatmulArgs& args, int64_t column, int64_t rows, const char* left_end, float* block) {
  const BlockEnd& end = *reinterpret_cast<const BlockEnd*>(left_end);
  const bool gated = args.gate_right.data != nullptr;
  const Vec scale[2] = {column_scale(args.right_scale, column, args.columns),
                        column_scale(gated ? args.gate_scale : args.right_scale, gated ? column : column + kTile, args.columns)};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t half = 0; half < 2; ++half) {
      float* at = block + row * 2 * kTile + half * kTile;
      const VecInt sum = load_ints(at) - end.excess[row];
      store(at, __builtin_convertvector(sum, Vec) * scale[half] * end.scale[row]);
    }
  }
}

// |x| as bits: of integers that order as the numbers do, NaN last.
template <typename T>
PRUDENT_VEC VecInt magnitude(const T* from, int64_t n) {
  return __builtin_bit_cast(VecInt, load_at(from, n)) & 0x7fffffff;
}

template <typename T>
PRUDENT_VEC float largest_magnitude(const T* row, int64_t depth) {
  VecInt most{};
  for (int64_t k = 0; k < depth; k += kWidth) {
    const VecInt here = magnitude(row + k, min_of(kWidth, depth - k));
    most = here > most ? here : most;
  }
  return __builtin_bit_cast(float, _mm512_reduce_max_epi32(__builtin_bit_cast(__m512i, most)));
}

// Of a row beyond it, infinity or NaN, the scale alone makes the results: it counts as 0.
constexpr float kLargestMagnitude = 3.4028235e38f;

// 64 values, in units of the row's scale; `n` of them are there. Their sum, lane by lane.
template <typename T>
PRUDENT_VEC VecInt quantise_step(const T* from, int64_t n, Vec per_unit, char* to) {
  VecInt sum{};
  for (int64_t k = 0; k < kTileDepth; k += kWidth) {
    const Vec x = n <= k ? Vec{} : load_at(from + k, min_of(n - k, kWidth));
    const __m512i units = _mm512_maskz_cvtps_epi32(0xffff, __builtin_bit_cast(__m512, x * per_unit));
    sum += __builtin_bit_cast(VecInt, units);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + k), _mm512_maskz_cvtsepi32_epi8(0xffff, units));
  }
  return sum;
}

// The whole of 32 rows. A row that holds NaN or an infinity has such a scale, hence no finite result.
template <typename T>
PRUDENT_VEC int64_t pack_left_steps(const Operand<T>& from, int64_t step_bytes, char* to) {
  const int64_t steps = (from.depth + kTileDepth - 1) / kTileDepth;
  BlockEnd& end = *reinterpret_cast<BlockEnd*>(to + steps * step_bytes);
  for (int64_t i = 0; i < 2 * kTile; ++i) {
    const bool exists = i < from.outer;
    const T* row = from.data + (exists ? i * from.stride : 0);
    const float most = exists ? largest_magnitude(row, from.depth) : 0.0f;
    const bool counts = most > kLeastMagnitude && most <= kLargestMagnitude;
    const Vec per_unit = broadcast(counts ? 127.0f / most : 0.0f);
    char* values = to + i / kTile * kTileBytes + i % kTile * kTileDepth;
    VecInt sum{};
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t depth = step * kTileDepth;
      sum += quantise_step(row + depth, counts ? from.depth - depth : 0, per_unit, values + step * step_bytes);
    }
    end.scale[i] = most / 127.0f;
    end.excess[i] = kWeightOffset * _mm512_reduce_add_epi32(__builtin_bit_cast(__m512i, sum));
  }
  return steps;
}

// 16 columns of quantised weights, each with its depth contiguous.
template <Side kSide, typename T>
void pack_half(const Operand<T>& from, bool depth_contiguous, char* to) {
  static_assert(kSide == Side::Right && sizeof(T) == 1);  // pack_left_steps does all of the left operand
  for (int64_t k = 0; k < kTileDepth; ++k) {
    for (int64_t column = 0; column < kTile; ++column) {
      const bool exists = column < from.outer && k < from.depth;
      const int value = exists ? from.data[depth_contiguous ? column * from.stride + k : k * from.stride + column] : 0;
      to[k / 4 * 64 + column * 4 + k % 4] = static_cast<char>(value + kWeightOffset);
    }
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
