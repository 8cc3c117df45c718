// What the CPU and CUDA versions of geglu take: raw pointers, elementwise.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// In the order of enum Activation.
enum class GegluKind : int { GeluTanh, GeluExact, Silu };

struct GegluForward {
  const void *gate, *up;  // [count]
  void* y;                // [count]
  int64_t count;
  GegluKind kind;
  bool bf16;
};

struct GegluBackward {
  const void *gate, *up, *grad_y;
  void *grad_gate, *grad_up;
  int64_t count;
  GegluKind kind;
  bool bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(geglu_forward, GegluForward)
PRUDENT_DECLARE_CPU_KERNEL(geglu_backward, GegluBackward)
void geglu_forward_cuda(const GegluForward& args, void* stream);
void geglu_backward_cuda(const GegluBackward& args, void* stream);

}  // namespace prudent::kernels
