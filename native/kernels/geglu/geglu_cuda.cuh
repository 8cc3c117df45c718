// The activations on the GPU.
#pragma once

#include "kernels/common/cuda_support.cuh"
#include "kernels/geglu/geglu_kernel.h"
#include "kernels/geglu/geglu_math.h"

namespace prudent::kernels {

namespace {

struct SigmoidOf {
  __device__ float operator()(float x) const { return 1.0f / (1.0f + expf(-x)); }
};
struct ErfOf {
  __device__ float operator()(float x, float) const { return erff(x); }
};
struct ExpOf {
  __device__ float operator()(float x) const { return expf(x); }
};

__device__ __forceinline__ Activated<float> activate(float x, GegluKind kind) {
  switch (kind) {
    case GegluKind::GeluTanh:
      return gelu_tanh<float>(x, SigmoidOf());
    case GegluKind::GeluExact:
      return gelu_exact<float>(x, ErfOf(), ExpOf());
    case GegluKind::Silu:
      break;
  }
  return silu<float>(x, SigmoidOf());
}

}  // namespace

}  // namespace prudent::kernels
