// Squares of dwords transposed, for _cpu.cpp files. The intrinsics are always inlined: no symbol of theirs is shared.
#pragma once

#include "kernels/common/vec.h"

#ifdef __AVX512F__
#include <immintrin.h>

namespace prudent::kernels::PRUDENT_ISA {

// All lanes, but without the undefined source of the unmasked forms, of which GCC warns.
constexpr __mmask16 kAll = 0xffff;
PRUDENT_VEC __m512i interleave_low(__m512i a, __m512i b) { return _mm512_maskz_unpacklo_epi32(kAll, a, b); }
PRUDENT_VEC __m512i interleave_high(__m512i a, __m512i b) { return _mm512_maskz_unpackhi_epi32(kAll, a, b); }
PRUDENT_VEC __m512i interleave_low_pairs(__m512i a, __m512i b) { return _mm512_maskz_unpacklo_epi64(0xff, a, b); }
PRUDENT_VEC __m512i interleave_high_pairs(__m512i a, __m512i b) { return _mm512_maskz_unpackhi_epi64(0xff, a, b); }
// Lanes of four dwords: 0 and 2 of a, then of b; 1 and 3.
PRUDENT_VEC __m512i even_lanes(__m512i a, __m512i b) { return _mm512_maskz_shuffle_i32x4(kAll, a, b, 0x88); }
PRUDENT_VEC __m512i odd_lanes(__m512i a, __m512i b) { return _mm512_maskz_shuffle_i32x4(kAll, a, b, 0xdd); }

// 16 rows of 16 dwords, from_row and to_row dwords apart, transposed.
PRUDENT_VEC void transpose_dwords(const uint32_t* from, int64_t from_row, uint32_t* to, int64_t to_row) {
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * from_row);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = interleave_low(a[i], a[i + 1]);
    b[i + 1] = interleave_high(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = interleave_low_pairs(b[i], b[i + 2]);
    a[i + 1] = interleave_high_pairs(b[i], b[i + 2]);
    a[i + 2] = interleave_low_pairs(b[i + 1], b[i + 3]);
    a[i + 3] = interleave_high_pairs(b[i + 1], b[i + 3]);
  }
  // a[4 g + j], lane q: column 4 q + j of rows 4 g .. 4 g + 3
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i low = even_lanes(a[j], a[4 + j]), high = odd_lanes(a[j], a[4 + j]);
    const __m512i low2 = even_lanes(a[8 + j], a[12 + j]), high2 = odd_lanes(a[8 + j], a[12 + j]);
    _mm512_storeu_si512(to + j * to_row, even_lanes(low, low2));
    _mm512_storeu_si512(to + (4 + j) * to_row, even_lanes(high, high2));
    _mm512_storeu_si512(to + (8 + j) * to_row, odd_lanes(low, low2));
    _mm512_storeu_si512(to + (12 + j) * to_row, odd_lanes(high, high2));
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
#endif
