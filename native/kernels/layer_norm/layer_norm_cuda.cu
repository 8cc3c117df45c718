#include "kernels/common/cuda_support.cuh"
#include "kernels/layer_norm/layer_norm_kernel.h"

namespace prudent::kernels {

namespace {

// One block a token.
template <typename T>
__global__ void forward(LayerNormForward args) {
  __shared__ float shared[kCudaThreads];
  const int64_t t = blockIdx.x;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  const T *weight = static_cast<const T*>(args.weight), *bias = static_cast<const T*>(args.bias);
  T* y = static_cast<T*>(args.y) + t * args.hidden;
  float sum = 0.0f, squares = 0.0f;
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) sum += to_float(x[j]);
  const float mean = block_sum(sum, shared) / static_cast<float>(args.hidden);
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    const float centred = to_float(x[j]) - mean;
    squares += centred * centred;
  }
  const float rstd = rsqrtf(block_sum(squares, shared) / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) {
    args.mean[t] = mean;
    args.rstd[t] = rstd;
  }
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    set(y[j], (to_float(x[j]) - mean) * rstd * to_float(weight[j]) + to_float(bias[j]));
  }
}

template <typename T>
__global__ void backward_x(LayerNormBackward args) {
  __shared__ float shared[kCudaThreads];
  const int64_t t = blockIdx.x;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  const T* grad_y = static_cast<const T*>(args.grad_y) + t * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  T* grad_x = static_cast<T*>(args.grad_x) + t * args.hidden;
  const float mean = args.mean[t], rstd = args.rstd[t];
  float sum = 0.0f, sum_normalised = 0.0f;
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    const float slope = to_float(grad_y[j]) * to_float(weight[j]);
    sum += slope;
    sum_normalised += slope * (to_float(x[j]) - mean) * rstd;
  }
  const float average = block_sum(sum, shared) / static_cast<float>(args.hidden);
  const float average_normalised = block_sum(sum_normalised, shared) / static_cast<float>(args.hidden);
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    const float slope = to_float(grad_y[j]) * to_float(weight[j]), normalised = (to_float(x[j]) - mean) * rstd;
    set(grad_x[j], rstd * (slope - average - normalised * average_normalised));
  }
}

// Column sums of one block of tokens; the blocks are added in order by finish_affine.
template <typename T>
__global__ void backward_affine(LayerNormBackward args) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (j >= args.hidden) return;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kLayerNormBlock;
  const int64_t last = first + kLayerNormBlock < args.tokens ? first + kLayerNormBlock : args.tokens;
  float weight_sum = 0.0f, bias_sum = 0.0f;
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * args.hidden + j;
    const float g = to_float(static_cast<const T*>(args.grad_y)[at]);
    weight_sum += g * (to_float(static_cast<const T*>(args.x)[at]) - args.mean[t]) * args.rstd[t];
    bias_sum += g;
  }
  float* sums = args.partial + static_cast<int64_t>(blockIdx.y) * 2 * args.hidden;
  sums[j] = weight_sum;
  sums[args.hidden + j] = bias_sum;
}

template <typename T>
__global__ void finish_affine(LayerNormBackward args, int64_t blocks) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (j >= args.hidden) return;
  float weight_sum = 0.0f, bias_sum = 0.0f;
  for (int64_t b = 0; b < blocks; ++b) {
    weight_sum += args.partial[b * 2 * args.hidden + j];
    bias_sum += args.partial[(b * 2 + 1) * args.hidden + j];
  }
  set(static_cast<T*>(args.grad_weight)[j], weight_sum);
  set(static_cast<T*>(args.grad_bias)[j], bias_sum);
}

template <typename T>
void backward(const LayerNormBackward& args, cudaStream_t stream) {
  const int64_t blocks = (args.tokens + kLayerNormBlock - 1) / kLayerNormBlock;
  const dim3 grid(cuda_blocks(args.hidden), static_cast<unsigned>(blocks));
  backward_x<T><<<static_cast<unsigned>(args.tokens), kCudaThreads, 0, stream>>>(args);
  backward_affine<T><<<grid, kCudaThreads, 0, stream>>>(args);
  finish_affine<T><<<cuda_blocks(args.hidden), kCudaThreads, 0, stream>>>(args, blocks);
}

}  // namespace

void layer_norm_forward_cuda(const LayerNormForward& args, void* stream) {
  const unsigned tokens = static_cast<unsigned>(args.tokens);
  if (args.bf16) {
    forward<__nv_bfloat16><<<tokens, kCudaThreads, 0, as_stream(stream)>>>(args);
  } else {
    forward<float><<<tokens, kCudaThreads, 0, as_stream(stream)>>>(args);
  }
}

void layer_norm_backward_cuda(const LayerNormBackward& args, void* stream) {
  args.bf16 ? backward<__nv_bfloat16>(args, as_stream(stream)) : backward<float>(args, as_stream(stream));
}

}  // namespace prudent::kernels
