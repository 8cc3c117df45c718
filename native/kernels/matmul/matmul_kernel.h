// What matmul's engines take: raw pointers, strides in items.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// left[i, d] or right[d, j] as it lies in memory: `outer` is i or j, d the depth that is summed over.
struct MatmulOperand {
  const void* data;
  int64_t stride;         // from one outer index to the next, or from one depth to the next
  bool depth_contiguous;  // which of the two it is
};

// Rows of a left operand whose values are all smaller count as 0 where rows are quantised: their scale would have no inverse.
constexpr float kLeastMagnitude = 1e-30f;

enum class MatmulActivation { None, GeluTanh, GeluExact, Silu };

struct MatmulArgs {
  int64_t rows, columns, depth;
  MatmulOperand left, right;
  MatmulOperand gate_right;               // gated: a second right operand; data null otherwise
  const float *right_scale, *gate_scale;  // [columns] of quantised right operands, or null
  const void* packed_right;               // both of them as matmul_pack_right leaves them, or null
  const void* left_tiles;                 // the left operand as out_tiles leaves it, or null
  bool bf16;                              // operands, bias, residual, saved; else fp32
  bool out_bf16;

  const void* bias;       // [columns] or null
  const void* gate_bias;  // [columns] or null
  const void* residual;   // [rows, columns] or null
  int64_t residual_stride;
  MatmulActivation activation;
  void* saved;       // [rows, columns] without gaps: what the activation was applied to, or null
  void* saved_gate;  // gated: `saved` holds the second factor, saved_gate what the activation was applied to
  void* out;         // [rows, columns]
  int64_t out_stride;
  bool accumulate;  // fp32 out: out += product
  // Gated, bf16, columns a multiple of 32: the result as the next product's left operand, [rows padded to 32, columns] in the
  // order of tiles; what the padding holds nobody reads.
  bool out_tiles;
};

// Of the engine that this machine has: AMX tiles (namespace amx, matmul_amx.cpp), else vectors (matmul_cpu.cpp).
//   matmul_run
//   matmul_packed_bytes, matmul_pack_right: the right operand (gated: both) in the engine's order, to be reused as packed_right
//   by products of any number of rows. They read columns, depth, right, gate_right and bf16 of the arguments; memory aligned to
//   64
#define PRUDENT_DECLARE_MATMUL(isa)                         \
  namespace isa {                                           \
  void matmul_run(const MatmulArgs& args);                  \
  int64_t matmul_packed_bytes(const MatmulArgs& args);      \
  void matmul_pack_right(const MatmulArgs& args, void* to); \
  }
PRUDENT_DECLARE_MATMUL(baseline)
PRUDENT_DECLARE_MATMUL(avx2)
PRUDENT_DECLARE_MATMUL(avx512)
PRUDENT_DECLARE_MATMUL(amx)
PRUDENT_DECLARE_MATMUL(vnni)
#undef PRUDENT_DECLARE_MATMUL

struct MatmulEngine {
  void (*run)(const MatmulArgs& args);
  int64_t (*packed_bytes)(const MatmulArgs& args);
  void (*pack_right)(const MatmulArgs& args, void* to);
};
const MatmulEngine& matmul_engine();
// Of products whose right operand is int8 (matmul_vnni.cpp): always packed, the left operand's depth contiguous. Null: none here.
const MatmulEngine* int8_matmul_engine();

}  // namespace prudent::kernels
