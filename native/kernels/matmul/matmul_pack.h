// Operands of matmul_amx.cpp in the order in which tiles read them.
#pragma once

#include "kernels/matmul/matmul_plan.h"

namespace prudent::kernels::PRUDENT_ISA {

// Outer indices first .. first + 15 of an operand, from depth `depth` on, at most `depth_count` deep.
template <typename T>
PRUDENT_VEC Operand<T> window(const MatmulOperand& x, int64_t first, int64_t outer_end, int64_t depth, int64_t depth_end) {
  const T* data = static_cast<const T*>(x.data);
  const int64_t at = x.depth_contiguous ? first * x.stride + depth : depth * x.stride + first;
  return {data + at, x.stride, outer_end - first, depth_end - depth};
}

template <Side kSide, int kPlanes, typename T>
void pack_tile(const MatmulOperand& x, int64_t first, int64_t outer_end, int64_t depth, int64_t depth_end, char* to) {
  const Operand<T> from = window<T>(x, first, outer_end, depth, depth_end);
  alignas(64) char tiles[kPlanes * kTileBytes];
  char* written = kPlanes == 1 ? to : tiles;
  if (x.depth_contiguous) {
    write_tiles<kSide, true, kPlanes>(from, written);
  } else {
    write_tiles<kSide, false, kPlanes>(from, written);
  }
  if constexpr (kPlanes > 1) {
    for (int p = 0; p < kPlanes; ++p) __builtin_memcpy(to + p * 2 * kTileBytes, tiles + p * kTileBytes, kTileBytes);
  }
}

// Blocks first_block .. of the right operand, steps first_step .. end_step - 1, written block after block.
template <typename T, int kPlanes>
void pack_right(const MatmulArgs& args, const Packed& packed, int64_t block, int64_t first_step, int64_t end_step, char* to) {
  const bool gated = args.gate_right.data != nullptr;
  const int64_t column = block * packed.block_columns;
  for (int64_t step = first_step; step < end_step; ++step, to += packed.step_bytes) {
    const int64_t depth = step * kTileDepth;
    pack_tile<Side::Right, kPlanes, T>(args.right, column, args.columns, depth, args.depth, to);
    pack_tile<Side::Right, kPlanes, T>(gated ? args.gate_right : args.right, gated ? column : column + kTile, args.columns, depth,
                                       args.depth, to + kTileBytes);
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

// 32 rows of the left operand, all of their depth.
template <typename T, int kPlanes>
void pack_left(const MatmulArgs& args, const Packed& packed, int64_t row, int64_t row_end, char* to) {
  int64_t depth = 0;
  if constexpr (kPlanes == 1) {
    if (args.left.depth_contiguous) {
      const int64_t steps = args.depth / kTileDepth;
      for (int64_t half = row; half < row + kBlock; half += kTile) {
        const Bf16* from = static_cast<const Bf16*>(args.left.data) + half * args.left.stride;
        copy_rows_to_tiles(from, args.left.stride, row_end - half, steps, packed.step_bytes,
                           to + (half - row) / kTile * kTileBytes);
      }
      depth = steps * kTileDepth;
      to += steps * packed.step_bytes;
    }
  }
  for (; depth < args.depth; depth += kTileDepth, to += packed.step_bytes) {
    pack_tile<Side::Left, kPlanes, T>(args.left, row, row_end, depth, args.depth, to);
    pack_tile<Side::Left, kPlanes, T>(args.left, row + kTile, row_end, depth, args.depth, to + kTileBytes);
  }
}

template <typename T, int kPlanes>
void pack_all(const MatmulArgs& args, char* to) {
  const Packed packed(args, kPlanes);
  parallel_for(packed.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack_right<T, kPlanes>(args, packed, b, 0, packed.steps, to + b * packed.block_bytes);
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
