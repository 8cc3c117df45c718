// Matrix product of the models' sizes with what follows it (bias, activation, gate, residual) done before the result leaves the
// cache:
//   out = activation(left . right + bias) + residual          left [rows, depth], right [depth, columns]
//   out = activation(left . gate + gate_bias) * (left . right + bias)                              gated
// On a CPU with AMX: bf16 with fp32 sums, and fp32 as six bf16 products of three-way cut operands (what is left out is below
// 2^-24 of each product), both on tiles: about 20 times as many products a second as fp32 vector units. With AVX-512 or AVX2:
// fp32 on vectors, about as fast as libtorch's, and bf16 widened to fp32 on the way into the cache, four to five times as fast as
// libtorch. A row's result depends neither on the other rows nor on the number of threads.
// libtorch's product is left for bf16 on a CPU that multiplies it by itself but has no AMX, and for lesser CPUs.
// On CUDA: libtorch's product, and its operations for what follows it.
// No gradient: building block of linear, token_logprob and others, which have theirs.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

struct MatmulEpilogue {
  at::Tensor bias;      // [columns], dtype of the operands, or undefined
  at::Tensor residual;  // [rows, columns], dtype of the operands, or undefined
  std::optional<Activation> activation;
  at::Tensor gate;       // [depth, columns]: gated; an activation is needed then, a residual not allowed
  at::Tensor gate_bias;  // [columns] or undefined
  // Receives what the activation was applied to; gated: `saved` the second factor, `saved_gate` the gate. [rows, columns]
  at::Tensor* saved = nullptr;
  at::Tensor* saved_gate = nullptr;
  // `right` and `gate` are weights that later calls are likely to find unchanged: packed once (packed_weights.h).
  bool keep_weights = false;
};

// left and right of one dtype, fp32 | bf16, each dense in one of its dimensions (a transposed view is) -> the same dtype.
at::Tensor matmul(const at::Tensor& left, const at::Tensor& right, const MatmulEpilogue& epilogue = {});
at::Tensor matmul_reference(const at::Tensor& left, const at::Tensor& right, const MatmulEpilogue& epilogue = {});

// matmul(matmul(left, gated.right, gated.epilogue), right, epilogue), to the bit; on tiles in bf16 what is in the middle is
// written as the second product reads it. Neither product may save anything.
struct GatedProduct {
  at::Tensor right;  // [depth, columns]
  MatmulEpilogue epilogue;
};
at::Tensor matmul_after_gated(const at::Tensor& left, const GatedProduct& gated, const at::Tensor& right,
                              const MatmulEpilogue& epilogue = {});

// out [rows, columns], rows dense, of the operands' dtype or fp32: = left . right, or += with `accumulate` (fp32 alone).
void matmul_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right, bool accumulate = false);

// A right operand in 8-bit integers, of a frozen model: int8_weights.h.
struct Int8Weights;
// left . weights, the rows of left quantised each by its own largest value; sums are exact. epilogue.gate_bias belongs to the
// weights' gate; epilogue.gate, saved, saved_gate and keep_weights are not used. A row's result depends on no other.
at::Tensor matmul_int8(const at::Tensor& left, const Int8Weights& weights, const MatmulEpilogue& epilogue = {});
at::Tensor matmul_int8_reference(const at::Tensor& left, const Int8Weights& weights, const MatmulEpilogue& epilogue = {});

// Is the product of tensors like this one ours, or libtorch's?
bool matmul_is_ours(const at::Tensor& operand);

}  // namespace prudent::kernels
