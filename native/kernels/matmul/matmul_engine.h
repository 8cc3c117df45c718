// What multiplies blocks of 32 x 32 results: AMX tiles in matmul_amx.cpp, vectors in matmul_cpu.cpp, 8-bit integers on vectors in
// matmul_vnni.cpp. Each brings
//   kTile, kTileDepth, kTileBytes: half a block of an operand is 16 rows or columns, as deep as one step, and takes so many bytes
//   kPlanesOf<T>: how many parts an operand's value is cut into
//   chunk_depth<T>: the depth whose 32 rows stay in the first-level cache
//   kBlockEndBytes: what a packed block has behind its last step
//   kPacksLeftWhole: does pack_left_steps all of the left operand, whose depth lies contiguously then?
//   RightItem<T>: what the right operand of a product of T holds
//   kTakesTileOrder: can it leave a result as the next product's left operand (MatmulArgs::out_tiles)?
//   kFinishesMeanwhile: are rows finished (matmul_epilogue.h) between the products of later blocks?
//   Engine: an object that lives as long as a thread multiplies
//   pack_half, pack_left_steps: operands in its order
//   multiply_block: results += left block . right block
//   finish_block: sums become fp32 results
//   store_result, rounded: how a result goes to memory, and to its dtype's precision
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

// Two packed blocks, each [step of depth][plane][2 halves].
struct BlockProduct {
  const char *left, *right;
  int64_t steps;
  int64_t rows;     // of the left block that count; what becomes of the others nobody reads
  bool accumulate;  // results are added to what is there
};

}  // namespace prudent::kernels::PRUDENT_ISA

#if defined(__AVX512VNNI__)
#include "kernels/matmul/matmul_int8.h"
#elif defined(__AMX_BF16__)
#include "kernels/matmul/matmul_tiles.h"
#else
#include "kernels/matmul/matmul_vectors.h"
#endif

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kBlock = 2 * kTile;  // rows, and columns of a block of results

}  // namespace prudent::kernels::PRUDENT_ISA
