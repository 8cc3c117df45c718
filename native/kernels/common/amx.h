// AMX tiles for <op>_amx.cpp files: bf16 products with fp32 sums, 16 x 16 results from 16 rows of 32 values of depth.
//   left tile   [16 rows][32 depth]           a row of 64 bytes is one row of the left matrix
//   right tile  [16 depth pairs][16 columns][2]  a row of 64 bytes is two steps of depth of 16 columns
// Both are 16 rows of 16 words, a word being two neighbours in depth: one is the transpose of the other. So whichever way a
// matrix lies in memory, a tile is read as words and turned when the words came the wrong way round.
// fp32 matrices are cut into three bf16 planes (8 + 8 + 8 bits of the significand, exact): see linear.h.
#pragma once

#include <immintrin.h>

#include "kernels/common/operand.h"
#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kTile = 16;        // rows, and columns of a result
constexpr int64_t kTileDepth = 32;   // values of depth in a tile
constexpr int64_t kTileWords = 256;  // 32-bit words of a tile
constexpr int64_t kTileBytes = 1024;

// All eight tiles of the calling thread at full size, for as long as the object lives.
class Tiles {
 public:
  inline __attribute__((always_inline)) Tiles() {
    // In constant memory: GCC's intrinsic claims to read eight bytes only, so a configuration on the stack need not have been
    // written in full when it is read.
    static constexpr Config kConfig;
    _tile_loadconfig(&kConfig);
  }
  inline __attribute__((always_inline)) ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  struct alignas(64) Config {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
};

// 16 x 16 words, transposed.
PRUDENT_VEC void transpose_words(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
}

PRUDENT_VEC __mmask16 first_of_16(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1u << n) - 1u); }
PRUDENT_VEC __mmask32 first_of_32(int64_t n) { return n >= 32 ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1u; }

// x rounded to bf16, still as fp32 (the upper half of the bits). Ties to even.
PRUDENT_VEC __m512i rounded_bits(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_and_si512(sum, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
}

// Plane after plane of what is left of x.
template <int kPlanes>
PRUDENT_VEC void cut(__m512 x, __m512i (&planes)[kPlanes]) {
#pragma GCC unroll 3
  for (int p = 0; p < kPlanes; ++p) {
    planes[p] = rounded_bits(x);
    x = _mm512_sub_ps(x, _mm512_castsi512_ps(planes[p]));
  }
}

// Words of two fp32 vectors that are neighbours in depth: `first` in the lower half.
PRUDENT_VEC __m512i words_of(__m512i first, __m512i second) { return _mm512_or_si512(_mm512_srli_epi32(first, 16), second); }

// r[i][w]: word w (depth 2w, 2w + 1) of outer index i, depth lying contiguously in memory.
template <int kPlanes>
PRUDENT_VEC void words_along(const Operand<float>& x, __m512i (&r)[kPlanes][16]) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __mmask16 low = first_of_16(x.depth), high = first_of_16(x.depth - 16);
  for (int i = 0; i < 16; ++i) {
    if (i >= x.outer) {
      for (int p = 0; p < kPlanes; ++p) r[p][i] = _mm512_setzero_si512();
      continue;
    }
    const float* from = x.data + i * x.stride;
    const __m512 a = _mm512_maskz_loadu_ps(low, from), b = _mm512_maskz_loadu_ps(high, from + 16);
    __m512i first[kPlanes], second[kPlanes];
    cut<kPlanes>(_mm512_permutex2var_ps(a, even, b), first);
    cut<kPlanes>(_mm512_permutex2var_ps(a, odd, b), second);
    for (int p = 0; p < kPlanes; ++p) r[p][i] = words_of(first[p], second[p]);
  }
}
template <int kPlanes>
PRUDENT_VEC void words_along(const Operand<Bf16>& x, __m512i (&r)[kPlanes][16]) {
  const __mmask32 mask = first_of_32(x.depth);
  for (int i = 0; i < 16; ++i) {
    r[0][i] = i < x.outer ? _mm512_maskz_loadu_epi16(mask, x.data + i * x.stride) : _mm512_setzero_si512();
  }
}

// r[w][i]: the same words, the outer index lying contiguously in memory.
template <int kPlanes>
PRUDENT_VEC void words_across(const Operand<float>& x, __m512i (&r)[kPlanes][16]) {
  const __mmask16 mask = first_of_16(x.outer);
  for (int w = 0; w < 16; ++w) {
    const float* from = x.data + 2 * w * x.stride;
    const __m512 a = _mm512_maskz_loadu_ps(2 * w < x.depth ? mask : 0, from);
    const __m512 b = _mm512_maskz_loadu_ps(2 * w + 1 < x.depth ? mask : 0, from + x.stride);
    __m512i first[kPlanes], second[kPlanes];
    cut<kPlanes>(a, first);
    cut<kPlanes>(b, second);
    for (int p = 0; p < kPlanes; ++p) r[p][w] = words_of(first[p], second[p]);
  }
}
template <int kPlanes>
PRUDENT_VEC void words_across(const Operand<Bf16>& x, __m512i (&r)[kPlanes][16]) {
  const __mmask16 mask = first_of_16(x.outer);
  for (int w = 0; w < 16; ++w) {
    const Bf16* from = x.data + 2 * w * x.stride;
    const __m256i a = _mm256_maskz_loadu_epi16(2 * w < x.depth ? mask : 0, from);
    const __m256i b = _mm256_maskz_loadu_epi16(2 * w + 1 < x.depth ? mask : 0, from + x.stride);
    r[0][w] = _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
  }
}

// One tile of each plane, written at to, to + kTileBytes, …
template <Side kSide, bool kDepthContiguous, int kPlanes, typename T>
PRUDENT_VEC void write_tiles(const Operand<T>& x, char* to) {
  __m512i words[kPlanes][16];
  if constexpr (kDepthContiguous) {
    words_along<kPlanes>(x, words);
  } else {
    words_across<kPlanes>(x, words);
  }
  for (int p = 0; p < kPlanes; ++p) {
    if constexpr ((kSide == Side::Left) != kDepthContiguous) transpose_words(words[p]);
    for (int i = 0; i < 16; ++i) _mm512_store_si512(to + p * kTileBytes + i * 64, words[p][i]);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
