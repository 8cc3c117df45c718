// The inner loops of matmul_amx.cpp: products of packed blocks, 32 x 32 results in four tiles. `meanwhile(step)` runs between the
// products of tiles, when the vector units and the memory have little else to do.
#pragma once

#include "kernels/common/amx.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kBlock = 2 * kTile;  // rows, and columns of a result block

// What later blocks will read, asked for a little at each step of this one.
struct Ahead {
  const char* data = nullptr;
  int64_t lines_per_step = 0;
};
PRUDENT_VEC void fetch(const Ahead& ahead, int64_t step) {
  const char* line = ahead.data + step * ahead.lines_per_step * 64;
  for (int64_t i = 0; i < ahead.lines_per_step; ++i) _mm_prefetch(line + i * 64, _MM_HINT_T1);
}

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

// block [32][32] fp32
PRUDENT_VEC void zero_block() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
PRUDENT_VEC void load_block(const float* block) {
  constexpr int64_t kBytes = kBlock * 4;
  _tile_loadd(0, block, kBytes);
  _tile_loadd(1, block + kTile, kBytes);
  _tile_loadd(2, block + kTile * kBlock, kBytes);
  _tile_loadd(3, block + kTile * kBlock + kTile, kBytes);
}
PRUDENT_VEC void store_block(float* block) {
  constexpr int64_t kBytes = kBlock * 4;
  _tile_stored(0, block, kBytes);
  _tile_stored(1, block + kTile, kBytes);
  _tile_stored(2, block + kTile * kBlock, kBytes);
  _tile_stored(3, block + kTile * kBlock + kTile, kBytes);
}

template <int kPlanes, typename Meanwhile>
PRUDENT_VEC void multiply_block(const char* left, const char* right, int64_t steps, const Meanwhile& meanwhile) {
  if constexpr (kPlanes == 3) {
    multiply_small_planes(left, right, steps, meanwhile);
    multiply_large_planes(left, right, steps);
  } else {
    multiply_steps(left, right, steps, meanwhile);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
