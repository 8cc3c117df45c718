// What the CPU and CUDA versions of multi_head take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct MultiHeadForward {
  const void* hidden;    // [tokens, size]
  const int64_t* index;  // [rows]
  const void* weight;    // [heads, size]
  float* scores;         // [rows, heads]
  int64_t rows, heads, size;
  bool hidden_bf16, weight_bf16;
};

struct MultiHeadBackward {
  const void* hidden;
  const int64_t* index;
  const void* weight;
  const float* grad_scores;  // [rows, heads]
  float* grad_hidden;        // [tokens, size] zero-filled, or null; rows that share a token add up
  float* grad_weight;        // [heads, size], or null
  int64_t rows, heads, size;
  bool hidden_bf16, weight_bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(multi_head_forward, MultiHeadForward)
PRUDENT_DECLARE_CPU_KERNEL(multi_head_backward, MultiHeadBackward)
void multi_head_forward_cuda(const MultiHeadForward& args, void* stream);
void multi_head_backward_cuda(const MultiHeadBackward& args, void* stream);

}  // namespace prudent::kernels
