// The activations of geglu on the CPU's vectors, for <op>_cpu.cpp files.
#pragma once

#include "kernels/common/vec.h"
#include "kernels/geglu/geglu_kernel.h"
#include "kernels/geglu/geglu_math.h"

namespace prudent::kernels::PRUDENT_ISA {

template <GegluKind kKind>
PRUDENT_VEC Activated<Vec> activate(Vec x) {
  const auto sigmoid_of = [](Vec v) __attribute__((always_inline)) { return sigmoid(v); };
  if constexpr (kKind == GegluKind::GeluTanh) return gelu_tanh<Vec>(x, sigmoid_of);
  if constexpr (kKind == GegluKind::Silu) return silu<Vec>(x, sigmoid_of);
  return gelu_exact<Vec>(
      x, [](Vec v, Vec e) __attribute__((always_inline)) { return erf(v, e); },
      [](Vec v) __attribute__((always_inline)) { return exp(v); });
}

}  // namespace prudent::kernels::PRUDENT_ISA
