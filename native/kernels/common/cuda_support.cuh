// What the CUDA kernels share: number conversion and block-wide sums. No torch headers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace prudent::kernels {

constexpr int kCudaThreads = 256;  // of one block; a power of two

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void set(float& to, float x) { to = x; }
__device__ __forceinline__ void set(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }
template <typename T>
__device__ __forceinline__ float round_to(float x) {
  T rounded;
  set(rounded, x);
  return to_float(rounded);
}

// Sum over the block, in a fixed order; every thread gets it. `shared` holds kCudaThreads numbers.
template <typename Number>
__device__ Number block_sum(Number value, Number* shared) {
  shared[threadIdx.x] = value;
  __syncthreads();
  for (int step = kCudaThreads / 2; step > 0; step /= 2) {
    if (threadIdx.x < step) shared[threadIdx.x] += shared[threadIdx.x + step];
    __syncthreads();
  }
  const Number sum = shared[0];
  __syncthreads();
  return sum;
}

inline unsigned cuda_blocks(int64_t items) { return static_cast<unsigned>((items + kCudaThreads - 1) / kCudaThreads); }
inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

}  // namespace prudent::kernels
