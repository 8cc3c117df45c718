// Products on AMX tiles: a block of 32 x 32 results is summed in four tiles. `meanwhile(step)` runs between the products of
// tiles, when the vector units and the memory have little else to do.
//
// fp32: a = a1 + a2 + a3 in bf16 planes, and a b = a1 b1 + (a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1), what is left out being below
// 2^-24 of |a| |b|. The five small products are summed first, so that the long sum of the large ones is rounded as in fp32.
#pragma once

#include "kernels/common/amx.h"
#include "kernels/matmul/matmul_engine.h"
#include "kernels/matmul/matmul_floats.h"

namespace prudent::kernels::PRUDENT_ISA {

using Engine = Tiles;
template <typename T>
constexpr int kPlanesOf = sizeof(T) == sizeof(float) ? 3 : 1;
template <typename T>
constexpr int64_t chunk_depth = sizeof(T) == sizeof(float) ? 96 : 384;
constexpr bool kTakesTileOrder = true;
constexpr bool kFinishesMeanwhile = true;

// Four result tiles += left block x right block over `steps` steps of depth. A step of a packed block is
// [plane][2 tiles]: its rows or columns 0-15 and 16-31. The right block is read past the first-level cache, where the left one
// stays for all blocks of a panel: a tenth more products a second.
template <typename Meanwhile>
PRUDENT_VEC void multiply_steps(const char* left, const char* right, int64_t steps, const Meanwhile& meanwhile) {
  constexpr int64_t kStep = 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    _tile_stream_loadd(6, right, 64);
    _tile_loadd(4, left, 64);
    _tile_stream_loadd(7, right + kTileBytes, 64);
    _tile_loadd(5, left + kTileBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    meanwhile(s);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

#define PRUDENT_LOAD_LEFT(plane)                     \
  _tile_loadd(4, left + (plane)*2 * kTileBytes, 64); \
  _tile_loadd(5, left + (plane)*2 * kTileBytes + kTileBytes, 64)
#define PRUDENT_LOAD_RIGHT(plane)                     \
  _tile_loadd(6, right + (plane)*2 * kTileBytes, 64); \
  _tile_loadd(7, right + (plane)*2 * kTileBytes + kTileBytes, 64)
#define PRUDENT_MULTIPLY() \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

// The five small products; neighbours in the order share an operand, so six pairs of tiles are loaded instead of ten.
template <typename Meanwhile>
PRUDENT_VEC void multiply_small_planes(const char* left, const char* right, int64_t steps, const Meanwhile& meanwhile) {
  constexpr int64_t kStep = 3 * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    PRUDENT_LOAD_RIGHT(0);
    PRUDENT_LOAD_LEFT(2);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_LEFT(1);
    PRUDENT_MULTIPLY();
    meanwhile(s);
    PRUDENT_LOAD_RIGHT(1);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_LEFT(0);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_RIGHT(2);
    PRUDENT_MULTIPLY();
  }
}

// The large product, whose operands the small ones have just read.
PRUDENT_VEC void multiply_large_planes(const char* left, const char* right, int64_t steps) {
  constexpr int64_t kStep = 3 * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    PRUDENT_LOAD_RIGHT(0);
    PRUDENT_LOAD_LEFT(0);
    PRUDENT_MULTIPLY();
  }
}
#undef PRUDENT_LOAD_LEFT
#undef PRUDENT_LOAD_RIGHT
#undef PRUDENT_MULTIPLY

// block [2 kTile][2 kTile] fp32
PRUDENT_VEC void zero_block() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
PRUDENT_VEC void load_block(const float* block) {
  constexpr int64_t kBytes = 2 * kTile * 4;
  _tile_loadd(0, block, kBytes);
  _tile_loadd(1, block + kTile, kBytes);
  _tile_loadd(2, block + kTile * 2 * kTile, kBytes);
  _tile_loadd(3, block + kTile * 2 * kTile + kTile, kBytes);
}
PRUDENT_VEC void store_block(float* block) {
  constexpr int64_t kBytes = 2 * kTile * 4;
  _tile_stored(0, block, kBytes);
  _tile_stored(1, block + kTile, kBytes);
  _tile_stored(2, block + kTile * 2 * kTile, kBytes);
  _tile_stored(3, block + kTile * 2 * kTile + kTile, kBytes);
}

template <int kPlanes, typename Meanwhile>
PRUDENT_VEC void multiply_block(const BlockProduct& product, float* block, const Meanwhile& meanwhile) {
  if (product.accumulate) {
    load_block(block);
  } else {
    zero_block();
  }
  if constexpr (kPlanes == 3) {
    multiply_small_planes(product.left, product.right, product.steps, meanwhile);
    multiply_large_planes(product.left, product.right, product.steps);
  } else {
    multiply_steps(product.left, product.right, product.steps, meanwhile);
  }
  store_block(block);
}

// Half a block of each plane, a step of depth; the planes' pairs of halves follow one another.
template <Side kSide, typename T>
void pack_half(const Operand<T>& from, bool depth_contiguous, char* to) {
  constexpr int kPlanes = kPlanesOf<T>;
  alignas(64) char tiles[kPlanes * kTileBytes];
  char* written = kPlanes == 1 ? to : tiles;
  if (depth_contiguous) {
    write_tiles<kSide, true, kPlanes>(from, written);
  } else {
    write_tiles<kSide, false, kPlanes>(from, written);
  }
  if constexpr (kPlanes > 1) {
    for (int p = 0; p < kPlanes; ++p) __builtin_memcpy(to + p * 2 * kTileBytes, tiles + p * kTileBytes, kTileBytes);
  }
}

// 16 rows of bf16 as they lie, `steps` whole steps of depth: some of a row's lines at a time, which is how memory is fast.
static void copy_rows_to_tiles(const Bf16* from, int64_t stride, int64_t rows, int64_t steps, int64_t step_bytes, char* to) {
  constexpr int64_t kSteps = 8;
  for (int64_t first = 0; first < steps; first += kSteps) {
    const int64_t end = min_of(steps, first + kSteps);
    for (int64_t i = 0; i < kTile; ++i) {
      const Bf16* row = from + i * stride;
      for (int64_t step = first; step < end; ++step) {
        const __m512i line = i < rows ? _mm512_loadu_si512(row + step * kTileDepth) : _mm512_setzero_si512();
        _mm512_store_si512(to + step * step_bytes + i * 64, line);
      }
    }
  }
}

// The whole steps of 32 rows whose depth lies contiguously, where there is a short way. Returns how many steps are done.
PRUDENT_VEC int64_t pack_left_steps(const Operand<float>&, int64_t, char*) { return 0; }
PRUDENT_VEC int64_t pack_left_steps(const Operand<Bf16>& from, int64_t step_bytes, char* to) {
  const int64_t steps = from.depth / kTileDepth;
  for (int64_t half = 0; half < 2; ++half) {
    copy_rows_to_tiles(from.data + half * kTile * from.stride, from.stride, from.outer - half * kTile, steps, step_bytes,
                       to + half * kTileBytes);
  }
  return steps;
}

// One instruction where vec.h takes six; the tiles have taken denormals as 0 anyway.
PRUDENT_VEC void store_result(float* to, Vec x, int64_t n) { store_at(to, x, n); }
PRUDENT_VEC void store_result(Bf16* to, Vec x, int64_t n) {
  const __m256i half = __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, x)));
  _mm256_mask_storeu_epi16(to, first_of_16(n), half);
}

// As they do it.
template <typename T>
PRUDENT_VEC Vec rounded(Vec x) {
  if constexpr (sizeof(T) == sizeof(float)) return x;
  const __m256i half = __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, x)));
  return __builtin_bit_cast(Vec, _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

}  // namespace prudent::kernels::PRUDENT_ISA
