// Operands in the order in which the engine reads them.
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

template <Side kSide, typename T>
void pack_half_of(const MatmulOperand& x, int64_t first, int64_t outer_end, int64_t depth, int64_t depth_end, char* to) {
  pack_half<kSide, T>(window<T>(x, first, outer_end, depth, depth_end), x.depth_contiguous, to);
}

// Blocks first_block .. of the right operand, steps first_step .. end_step - 1, written block after block.
template <typename T>
void pack_right(const MatmulArgs& args, const Packed& packed, int64_t block, int64_t first_step, int64_t end_step, char* to) {
  const bool gated = args.gate_right.data != nullptr;
  const int64_t column = block * packed.block_columns;
  for (int64_t step = first_step; step < end_step; ++step, to += packed.step_bytes) {
    const int64_t depth = step * kTileDepth;
    pack_half_of<Side::Right, T>(args.right, column, args.columns, depth, args.depth, to);
    pack_half_of<Side::Right, T>(gated ? args.gate_right : args.right, gated ? column : column + kTile, args.columns, depth,
                                 args.depth, to + kTileBytes);
  }
}

// 32 rows of the left operand, all of their depth.
template <typename T>
void pack_left(const MatmulArgs& args, const Packed& packed, int64_t row, int64_t row_end, char* to) {
  int64_t step = 0;
  if (args.left.depth_contiguous) {
    step = pack_left_steps(window<T>(args.left, row, row_end, 0, args.depth), packed.step_bytes, to);
  }
  if constexpr (!kPacksLeftWhole) {
    for (to += step * packed.step_bytes; step < packed.steps; ++step, to += packed.step_bytes) {
      const int64_t depth = step * kTileDepth;
      pack_half_of<Side::Left, T>(args.left, row, row_end, depth, args.depth, to);
      pack_half_of<Side::Left, T>(args.left, row + kTile, row_end, depth, args.depth, to + kTileBytes);
    }
  }
}

template <typename T>
void pack_all(const MatmulArgs& args, char* to) {
  const Packed packed(args, kPlanesOf<T>);
  parallel_for(packed.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack_right<RightItem<T>>(args, packed, b, 0, packed.steps, to + b * packed.block_bytes);
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
