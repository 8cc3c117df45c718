// Weights of a frozen model in 8-bit integers: column j of the operand is q[:, j] * scale[j], scale[j] = max |w[:, j]| / 127.
// Made once, where the model is loaded: on a CPU with AVX-512 VNNI in the engine's order, a byte a weight; elsewhere the integers
// as they are, multiplied as fp32: the same results but for the order of sums, and no faster.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace prudent::kernels {

struct Int8Weights {
  int64_t depth = 0, columns = 0;
  at::Tensor scale, gate_scale;    // [columns] fp32; gate: of a gated product, else undefined
  at::Tensor values, gate_values;  // [columns, depth] int8; undefined where packed is there
  at::Tensor packed;               // both in the engine's order (uint8)

  [[nodiscard]] bool defined() const { return scale.defined(); }
  [[nodiscard]] const Int8Weights* if_defined() const { return defined() ? this : nullptr; }
  [[nodiscard]] bool gated() const { return gate_scale.defined(); }
};

// right, and gate unless undefined: [depth, columns], fp32 | bf16, on the CPU, at most 65,536 deep. Not a copy that follows:
// whoever changes the weights makes new ones. E_NON_FINITE for weights that are not finite. `as_they_lie`: not packed, whatever
// the CPU.
Int8Weights quantise_weights(const at::Tensor& right, const at::Tensor& gate = {}, bool as_they_lie = false);

}  // namespace prudent::kernels
