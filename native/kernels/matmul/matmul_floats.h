// What the engines of floating-point operands have in common (matmul_engine.h): operands are packed as they are, sums are fp32.
#pragma once

#include "kernels/common/vec.h"
#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

constexpr int64_t kBlockEndBytes = 0;
constexpr bool kPacksLeftWhole = false;
template <typename T>
using RightItem = T;

PRUDENT_VEC void finish_block(const MatmulArgs&, int64_t, int64_t, const char*, float*) {}

}  // namespace prudent::kernels::PRUDENT_ISA
