#include "kernels/common/cuda_support.cuh"
#include "kernels/global_norm/global_norm_kernel.h"

namespace prudent::kernels {

namespace {

constexpr int kItems = 8;  // 16 bytes of bfloat16, two times 16 of fp32

template <int kCount, typename T>
__device__ __forceinline__ float squares_of(const T* from) {
  float x[kCount], sum = 0.0f;
  load<kCount>(from, x);
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum += x[i] * x[i];
  return sum;
}

template <typename T>
__device__ __forceinline__ float sum_of_squares(const NormStretch& stretch) {
  const T* data = static_cast<const T*>(stretch.data);
  const int64_t packed = reinterpret_cast<uintptr_t>(data) % 16 == 0 ? stretch.count / kItems * kItems : 0;
  float sum = 0.0f;
  for (int64_t at = threadIdx.x * kItems; at < packed; at += kCudaThreads * kItems) sum += squares_of<kItems>(data + at);
  for (int64_t at = packed + threadIdx.x; at < stretch.count; at += kCudaThreads) sum += squares_of<1>(data + at);
  return sum;
}

// One block a stretch.
__global__ void stretches(GlobalNormArgs args) {
  __shared__ float shared[kCudaWarps];
  const NormStretch stretch = args.stretches[blockIdx.x];
  const float mine = stretch.bf16 ? sum_of_squares<__nv_bfloat16>(stretch) : sum_of_squares<float>(stretch);
  const float sum = block_reduce(mine, shared, Sum());
  if (threadIdx.x == 0) args.sums[blockIdx.x] = static_cast<double>(sum);
}

}  // namespace

void global_norm_run_cuda(const GlobalNormArgs& args, void* stream) {
  launch(stretches, static_cast<unsigned>(args.count), kCudaThreads, stream, args);
}

}  // namespace prudent::kernels
