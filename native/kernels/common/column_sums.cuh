// Sums over the rows of a matrix of partial sums, in a fixed order: the last step of gradients of gains and biases.
#pragma once

#include "kernels/common/cuda_support.cuh"

namespace prudent::kernels {

namespace {

// to[j] = sum_r partial[r * stride + j]. A warp's lanes are neighbouring columns; the warps of a block share the rows, then their
// sums are added in order.
template <typename T>
__global__ void add_rows(const float* partial, int64_t rows, int64_t stride, int64_t columns, T* to) {
  __shared__ float shared[kCudaWarps][kWarp];
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float sum = 0.0f;
  if (j < columns) {
    for (int64_t r = warp; r < rows; r += kCudaWarps) sum += partial[r * stride + j];
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || j >= columns) return;
  for (int w = 1; w < kCudaWarps; ++w) sum += shared[w][lane];
  set(to[j], sum);
}

template <typename T>
void column_sums(const float* partial, int64_t rows, int64_t stride, int64_t columns, void* to, void* stream) {
  if (columns == 0) return;
  launch(add_rows<T>, cuda_blocks(columns, kWarp), kCudaThreads, stream, partial, rows, stride, columns, static_cast<T*>(to));
}

}  // namespace

}  // namespace prudent::kernels
