// What the CPU and CUDA versions of rms_norm take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct RmsNormForward {
  const void* x;       // [tokens, hidden]
  const void* weight;  // [hidden]
  void* y;             // [tokens, hidden]
  float* rstd;         // [tokens], kept for the gradient
  int64_t tokens, hidden;
  float eps;
  bool unit_offset, bf16;
};

struct RmsNormBackward {
  const void *x, *weight, *grad_y;
  const float* rstd;
  void* grad_x;       // [tokens, hidden]
  void* grad_weight;  // [hidden]
  float* partial;     // [blocks, hidden], a row for each block of tokens: summed in order, whatever the thread count
  int64_t tokens, hidden;
  bool unit_offset, bf16;
};

constexpr int64_t kRmsNormBlock = 64;      // tokens of one block on the CPU
constexpr int64_t kRmsNormCudaBlock = 16;  // on CUDA: enough blocks for every multiprocessor at a few thousand tokens

PRUDENT_DECLARE_CPU_KERNEL(rms_norm_forward, RmsNormForward)
PRUDENT_DECLARE_CPU_KERNEL(rms_norm_backward, RmsNormBackward)
void rms_norm_forward_cuda(const RmsNormForward& args, void* stream);
void rms_norm_backward_cuda(const RmsNormBackward& args, void* stream);

}  // namespace prudent::kernels
