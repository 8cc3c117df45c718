#include "kernels/common/cuda_support.cuh"
#include "kernels/rotary/rotary_kernel.h"

namespace prudent::kernels {

namespace {

// One thread a pair.
template <typename T>
__global__ void rotate(RotaryArgs args) {
  const int64_t half = args.head_dim / 2, pairs = args.heads * half;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (i >= args.tokens * pairs) return;
  const int64_t t = i / pairs, h = i % pairs / half, j = i % half;
  const T* x = static_cast<const T*>(args.x) + t * args.x_stride + h * args.head_dim;
  T* y = static_cast<T*>(args.y) + (t * args.heads + h) * args.head_dim;
  const float first = to_float(x[j]), second = to_float(x[half + j]);
  const float c = args.cos[args.positions[t] * half + j], s = args.sin[args.positions[t] * half + j] * args.sign;
  set(y[j], first * c - second * s);
  set(y[half + j], second * c + first * s);
}

}  // namespace

void rotary_rotate_cuda(const RotaryArgs& args, void* stream) {
  const unsigned blocks = cuda_blocks(args.tokens * args.heads * args.head_dim / 2);
  if (args.bf16) {
    rotate<__nv_bfloat16><<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args);
  } else {
    rotate<float><<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args);
  }
}

}  // namespace prudent::kernels
