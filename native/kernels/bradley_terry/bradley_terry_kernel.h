// What the CPU and CUDA versions of bradley_terry take: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

struct BradleyTerryArgs {
  const float *chosen, *rejected;            // [pairs, heads]
  float *grad_chosen, *grad_rejected;        // [pairs, heads]
  float* loss;                               // [1]
  float *loss_per_head, *accuracy_per_head;  // [heads]
  double* partial;  // [blocks, heads, 2] with blocks = ceil(pairs / kPairBlock): loss and hits, summed in order
  int64_t pairs, heads;
};

constexpr int64_t kPairBlock = 128;

PRUDENT_DECLARE_CPU_KERNEL(bradley_terry_run, BradleyTerryArgs)
void bradley_terry_run_cuda(const BradleyTerryArgs& args, void* stream);

}  // namespace prudent::kernels
