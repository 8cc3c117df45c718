// Tiles for bf16 attention: packing of keys and values, products of tiles, softmax and its slopes in the layouts that the next
// product reads. For _amx.cpp files; the intrinsics are always inlined, so no symbol of theirs is shared.
//
// TDPBF16PS adds a [16, 32] x b [32, 16] to c [16, 16], bf16 with fp32 sums. It wants b as 16 rows of pairs: the items of two
// consecutive depths side by side. Two such layouts of a matrix x [rows, dim] are used here:
//   across: depth is dim (scores: x transposed), tiles of 16 rows of x by 32 dims, each tile in one stretch
//   pairs:  depth is the rows (outputs), [rows / 2][dim][2]
#pragma once

#include <immintrin.h>

#include "kernels/common/amx.h"
#include "kernels/packed_attention/attention_transpose.h"

namespace prudent::kernels::PRUDENT_ISA {

PRUDENT_VEC int64_t round_up_to(int64_t multiple, int64_t n) { return (n + multiple - 1) / multiple * multiple; }

// The right operand: pair row r of depth block k and column block n begins at data + k * depth_step + n * column_step + r * row.
struct TileSource {
  const uint16_t* data;
  int64_t row, depth_step, column_step;
};
// Layouts of x [rows, dim] as above.
PRUDENT_VEC TileSource across_source(const uint16_t* data, int64_t dim) { return {data, 32, 512, dim * 16}; }
PRUDENT_VEC TileSource pairs_source(const uint16_t* data, int64_t dim) { return {data, dim * 2, dim * 32, 32}; }

// c[16 * kRows, 16 * kColumns] (+)= a b
template <int kRows, int kColumns>
PRUDENT_VEC void tile_block(int64_t depth, const uint16_t* a, int64_t a_row, const uint16_t* b, const TileSource& source,
                            float* c, int64_t c_row, bool accumulate) {
  const uint16_t* b1 = b + source.column_step;
  if (accumulate) {
    _tile_loadd(0, c, c_row * 4);
    if constexpr (kColumns == 2) _tile_loadd(1, c + 16, c_row * 4);
    if constexpr (kRows == 2) _tile_loadd(2, c + 16 * c_row, c_row * 4);
    if constexpr (kRows == 2 && kColumns == 2) _tile_loadd(3, c + 16 * c_row + 16, c_row * 4);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t k = 0; k < depth; k += 32) {
    const int64_t step = k / 32 * source.depth_step;
    _tile_loadd(4, a + k, a_row * 2);
    _tile_loadd(6, b + step, source.row * 2);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kColumns == 2) {
      _tile_loadd(7, b1 + step, source.row * 2);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kRows == 2) {
      _tile_loadd(5, a + 16 * a_row + k, a_row * 2);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kColumns == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_row * 4);
  if constexpr (kColumns == 2) _tile_stored(1, c + 16, c_row * 4);
  if constexpr (kRows == 2) _tile_stored(2, c + 16 * c_row, c_row * 4);
  if constexpr (kRows == 2 && kColumns == 2) _tile_stored(3, c + 16 * c_row + 16, c_row * 4);
}

// c[rows, columns] (+)= a[rows, depth] b; rows and columns multiples of 16, depth of 32.
static __attribute__((noinline, unused)) void tile_product(int64_t rows, int64_t columns, int64_t depth, const uint16_t* a,
                                                           int64_t a_row, const TileSource& source, float* c, int64_t c_row,
                                                           bool accumulate) {
  for (int64_t n = 0; n < columns; n += 32) {
    const uint16_t* b = source.data + n / 16 * source.column_step;
    const bool wide = n + 16 < columns;
    for (int64_t m = 0; m < rows; m += 32) {
      const bool tall = m + 16 < rows;
      const uint16_t* left = a + m * a_row;
      float* to = c + m * c_row + n;
      if (tall && wide) {
        tile_block<2, 2>(depth, left, a_row, b, source, to, c_row, accumulate);
      } else if (tall) {
        tile_block<2, 1>(depth, left, a_row, b, source, to, c_row, accumulate);
      } else if (wide) {
        tile_block<1, 2>(depth, left, a_row, b, source, to, c_row, accumulate);
      } else {
        tile_block<1, 1>(depth, left, a_row, b, source, to, c_row, accumulate);
      }
    }
  }
}

// x [rows, dim], rows a multiple of 16 and dim of 32 -> across.
static __attribute__((noinline, unused)) void pack_across(const uint16_t* x, int64_t rows, int64_t dim, uint16_t* to) {
  for (int64_t r = 0; r < rows; r += 16) {
    for (int64_t j = 0; j < dim; j += 32) {
      transpose_dwords(reinterpret_cast<const uint32_t*>(x + r * dim + j), dim / 2, reinterpret_cast<uint32_t*>(to), 16);
      to += 512;
    }
  }
}

// x [rows, dim], rows a multiple of 2 and dim of 32 -> pairs.
static __attribute__((noinline, unused)) void pack_pairs(const uint16_t* x, int64_t rows, int64_t dim, uint16_t* to) {
  alignas(64) uint16_t order[64];
  for (int i = 0; i < 64; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
  const __m512i low = _mm512_load_si512(order), high = _mm512_load_si512(order + 32);
  for (int64_t r = 0; r < rows; r += 2) {
    for (int64_t j = 0; j < dim; j += 32) {
      const __m512i even = _mm512_loadu_si512(x + r * dim + j), odd = _mm512_loadu_si512(x + (r + 1) * dim + j);
      _mm512_storeu_si512(to + 2 * j, _mm512_permutex2var_epi16(even, low, odd));
      _mm512_storeu_si512(to + 2 * j + 32, _mm512_permutex2var_epi16(even, high, odd));
    }
    to += 2 * dim;
  }
}

// x [rows, dim], both multiples of 32 -> [dim, rows]; `pairs` holds rows * dim items.
static __attribute__((noinline, unused)) void pack_transposed(const uint16_t* x, int64_t rows, int64_t dim, uint16_t* pairs,
                                                              uint16_t* to) {
  pack_pairs(x, rows, dim, pairs);
  for (int64_t r = 0; r < rows; r += 32) {
    for (int64_t j = 0; j < dim; j += 16) {
      transpose_dwords(reinterpret_cast<const uint32_t*>(pairs + r * dim + 2 * j), dim,
                       reinterpret_cast<uint32_t*>(to + j * rows + r), rows / 2);
    }
  }
}

// 2^x for x <= 0, relative error 3e-6: what bf16 keeps of it is exact to half a unit in the last place but for rare ties.
PRUDENT_VEC __m512 exp2_near(__m512 x) {
  const __m512 n = _mm512_maskz_roundscale_ps(kAll, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.333355815e-3f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.618129108e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.550410866e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.402265070e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.931471806e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_maskz_scalef_ps(kAll, p, n);
}

PRUDENT_VEC __m256i to_bf16(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }
// 16 items in the low or the high halves of dwords.
PRUDENT_VEC __m512i in_low_halves(__m256i x) { return _mm512_maskz_cvtepu16_epi32(kAll, x); }
PRUDENT_VEC __m512i in_high_halves(__m256i x) { return _mm512_maskz_slli_epi32(kAll, in_low_halves(x), 16); }

// Of all 16 lanes, pairwise.
template <typename Combine>
PRUDENT_VEC float across_lanes(__m512 x, const Combine& combine) {
  x = combine(x, _mm512_maskz_shuffle_f32x4(kAll, x, x, 0x4e));
  x = combine(x, _mm512_maskz_shuffle_f32x4(kAll, x, x, 0xb1));
  x = combine(x, _mm512_maskz_permute_ps(kAll, x, 0x4e));
  x = combine(x, _mm512_maskz_permute_ps(kAll, x, 0xb1));
  return x[0];
}
// Which of 16 lanes from key s on a query with `limit` keys sees.
PRUDENT_VEC __mmask16 seen_lanes(int64_t s, int64_t limit) {
  const int64_t lanes = limit - s;
  return lanes >= 16 ? 0xffff : lanes <= 0 ? 0 : static_cast<__mmask16>((1u << lanes) - 1u);
}

// One row of raw scores -> weights exp(scale * (score - maximum)) in bf16, zeros from its limit up to `width`. Returns their sum
// as bf16 rounded them, so that they add up to one after the division, and the maximum.
struct RowSoftmax {
  float sum, max;
};
PRUDENT_VEC RowSoftmax softmax_row(const float* scores, int64_t width, int64_t limit, float scale_log2, uint16_t* weights) {
  __m512 best = _mm512_set1_ps(-__builtin_inff());
  for (int64_t s = 0; s < limit; s += 16) {
    best = _mm512_mask_max_ps(best, seen_lanes(s, limit), best, _mm512_loadu_ps(scores + s));
  }
  const float max = across_lanes(
      best, [](__m512 a, __m512 b) __attribute__((always_inline)) { return _mm512_maskz_max_ps(kAll, a, b); });
  const __m512 factor = _mm512_set1_ps(scale_log2), shift = _mm512_set1_ps(-max * scale_log2);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t s = 0; s < width; s += 16) {
    const __mmask16 seen = seen_lanes(s, limit);
    const __m512 e = _mm512_maskz_mov_ps(seen, exp2_near(_mm512_fmadd_ps(_mm512_loadu_ps(scores + s), factor, shift)));
    const __m256i half = to_bf16(e);
    sum += _mm512_castsi512_ps(in_high_halves(half));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + s), half);
  }
  return {across_lanes(
              sum, [](__m512 a, __m512 b) __attribute__((always_inline)) { return a + b; }),
          max};
}

// What the gradient needs of a query: its log of the sum of exponentials, in base 2, and the sum of out * grad_out.
struct QuerySlope {
  float logsumexp_log2, delta;
  int64_t limit;
};
// Two rows of raw scores and of d loss / d weight -> weights and d loss / d score in bf16: both rows' pairs (weights, slopes),
// and the slopes by row.
PRUDENT_VEC void slope_rows(const float* scores, const float* grads, int64_t row, int64_t width, float scale_log2,
                            const QuerySlope* queries, uint16_t* weight_pairs, uint16_t* slope_pairs, uint16_t* slopes) {
  const __m512 factor = _mm512_set1_ps(scale_log2);
  for (int64_t s = 0; s < width; s += 16) {
    __m256i weight[2], slope[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m512 x = _mm512_fmsub_ps(_mm512_loadu_ps(scores + i * row + s), factor, _mm512_set1_ps(queries[i].logsumexp_log2));
      const __m512 p = _mm512_maskz_mov_ps(seen_lanes(s, queries[i].limit), exp2_near(x));
      const __m512 d = _mm512_sub_ps(_mm512_loadu_ps(grads + i * row + s), _mm512_set1_ps(queries[i].delta));
      weight[i] = to_bf16(p);
      slope[i] = to_bf16(_mm512_maskz_mul_ps(seen_lanes(s, queries[i].limit), p, d));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(slopes + i * row + s), slope[i]);
    }
    const auto pair = [](__m256i even, __m256i odd) __attribute__((always_inline)) {
      return in_low_halves(even) | in_high_halves(odd);
    };
    _mm512_storeu_si512(weight_pairs + 2 * s, pair(weight[0], weight[1]));
    _mm512_storeu_si512(slope_pairs + 2 * s, pair(slope[0], slope[1]));
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
