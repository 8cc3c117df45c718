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

__device__ Activated<float> activate(float x, GegluKind kind) {
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

template <typename T>
__global__ void forward(GegluForward args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (i >= args.count) return;
  const float up = to_float(static_cast<const T*>(args.up)[i]);
  set(static_cast<T*>(args.y)[i], activate(to_float(static_cast<const T*>(args.gate)[i]), args.kind).value * up);
}

template <typename T>
__global__ void backward(GegluBackward args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (i >= args.count) return;
  const Activated<float> a = activate(to_float(static_cast<const T*>(args.gate)[i]), args.kind);
  const float g = to_float(static_cast<const T*>(args.grad_y)[i]);
  set(static_cast<T*>(args.grad_gate)[i], g * to_float(static_cast<const T*>(args.up)[i]) * a.slope);
  set(static_cast<T*>(args.grad_up)[i], g * a.value);
}

}  // namespace

void geglu_forward_cuda(const GegluForward& args, void* stream) {
  if (args.bf16) {
    forward<__nv_bfloat16><<<cuda_blocks(args.count), kCudaThreads, 0, as_stream(stream)>>>(args);
  } else {
    forward<float><<<cuda_blocks(args.count), kCudaThreads, 0, as_stream(stream)>>>(args);
  }
}

void geglu_backward_cuda(const GegluBackward& args, void* stream) {
  if (args.bf16) {
    backward<__nv_bfloat16><<<cuda_blocks(args.count), kCudaThreads, 0, as_stream(stream)>>>(args);
  } else {
    backward<float><<<cuda_blocks(args.count), kCudaThreads, 0, as_stream(stream)>>>(args);
  }
}

}  // namespace prudent::kernels
