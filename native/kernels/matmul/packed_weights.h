// Weights that many products share, kept as the engine reads them: packing is most of a product of few rows, as of one token a
// row in generation.
//   - Kept from the second product that finds a weight unchanged: what is used once gains nothing. Of many rows a product gains
//   least: bf16 weights on tiles are then kept while the limit is not half used, others not at all. Once kept a weight serves
//   products of any number of rows.
//   - A weight is known by its storage (weakly held: freed memory that is handed out again is another storage), its place and
//   layout in it, and its version counter. Whoever writes a weight through a raw pointer bumps that, as
//   adamw does.
//   - A weight that is differentiated is about to change: its copy is dropped, before the backward needs the memory.
//   - In all at most 1 GiB on tiles and half of that on vectors, or PRUDENT_PACKED_WEIGHTS MiB of the environment; 0 keeps none.
//   What does not fit is packed at each call: an order of use that comes round, as layers do, would drop each copy just before it
//   is wanted.
// On tiles bf16 takes the memory of the weight once more, fp32 one and a half times (three planes of bf16); on vectors both take
// fp32.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels {

// The right operands of `args` in the engine's order (uint8), in memory of their own.
at::Tensor pack_weights(const MatmulEngine& engine, const MatmulArgs& args);

// right, and gate unless undefined, in the engine's order (uint8), or undefined: not kept. `args` describes their product.
at::Tensor packed_weights(const MatmulArgs& args, const at::Tensor& right, const at::Tensor& gate);

// Drops what is kept of this weight, or of a view or a base of it.
void forget_packed_weights(const at::Tensor& weight);

// Drops what is kept of weights that are gone.
void release_dead_packed_weights();

struct PackedWeightsMemory {
  int64_t kept = 0;   // bytes
  int64_t limit = 0;  // bytes
};
PackedWeightsMemory packed_weights_memory();
// Drops what is kept and keeps at most `bytes` from now on.
void set_packed_weights_limit(int64_t bytes);

}  // namespace prudent::kernels
