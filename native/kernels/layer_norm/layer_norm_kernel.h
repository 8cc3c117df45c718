// What the CPU and CUDA versions of layer_norm take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct LayerNormForward {
  const void *x, *weight, *bias;  // [tokens, hidden], [hidden], [hidden]
  void* y;                        // [tokens, hidden]
  float *mean, *rstd;             // [tokens], kept for the gradient
  int64_t tokens, hidden;
  float eps;
  bool bf16;
};

struct LayerNormBackward {
  const void *x, *weight, *grad_y;
  const float *mean, *rstd;
  void *grad_x, *grad_weight, *grad_bias;  // [tokens, hidden], [hidden], [hidden]
  float* partial;  // [blocks, 2, hidden], a pair of rows for each block of tokens: weight, bias; summed in order
  int64_t tokens, hidden;
  bool bf16;
};

constexpr int64_t kLayerNormBlock = 64;      // tokens of one block on the CPU
constexpr int64_t kLayerNormCudaBlock = 16;  // on CUDA, as in rms_norm

PRUDENT_DECLARE_CPU_KERNEL(layer_norm_forward, LayerNormForward)
PRUDENT_DECLARE_CPU_KERNEL(layer_norm_backward, LayerNormBackward)
void layer_norm_forward_cuda(const LayerNormForward& args, void* stream);
void layer_norm_backward_cuda(const LayerNormBackward& args, void* stream);

}  // namespace prudent::kernels
