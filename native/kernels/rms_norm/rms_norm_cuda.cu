#include "kernels/common/cuda_support.cuh"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels {

namespace {

// One block a token.
template <typename T>
__global__ void forward(RmsNormForward args) {
  __shared__ float shared[kCudaThreads];
  const int64_t t = blockIdx.x;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  T* y = static_cast<T*>(args.y) + t * args.hidden;
  float sum = 0.0f;
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) sum += to_float(x[j]) * to_float(x[j]);
  const float rstd = rsqrtf(block_sum(sum, shared) / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) args.rstd[t] = rstd;
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    const float normalised = to_float(x[j]) * rstd;
    // Llama rounds before the gain.
    set(y[j], args.unit_offset ? normalised * (to_float(weight[j]) + 1.0f) : round_to<T>(normalised) * to_float(weight[j]));
  }
}

template <typename T>
__global__ void backward_x(RmsNormBackward args) {
  __shared__ float shared[kCudaThreads];
  const int64_t t = blockIdx.x;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  const T* grad_y = static_cast<const T*>(args.grad_y) + t * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  T* grad_x = static_cast<T*>(args.grad_x) + t * args.hidden;
  const float rstd = args.rstd[t], offset = args.unit_offset ? 1.0f : 0.0f;
  float sum = 0.0f;
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    sum += to_float(grad_y[j]) * (to_float(weight[j]) + offset) * to_float(x[j]) * rstd;
  }
  const float mean = block_sum(sum, shared) / static_cast<float>(args.hidden);
  for (int64_t j = threadIdx.x; j < args.hidden; j += kCudaThreads) {
    const float g = to_float(grad_y[j]) * (to_float(weight[j]) + offset);
    set(grad_x[j], rstd * (g - to_float(x[j]) * rstd * mean));
  }
}

// Column sums of one block of tokens; the blocks are added in order by finish_weight.
template <typename T>
__global__ void backward_weight(RmsNormBackward args) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (j >= args.hidden) return;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kRmsNormBlock;
  const int64_t last = first + kRmsNormBlock < args.tokens ? first + kRmsNormBlock : args.tokens;
  float sum = 0.0f;
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * args.hidden + j;
    sum += to_float(static_cast<const T*>(args.grad_y)[at]) * to_float(static_cast<const T*>(args.x)[at]) * args.rstd[t];
  }
  args.partial[static_cast<int64_t>(blockIdx.y) * args.hidden + j] = sum;
}

template <typename T>
__global__ void finish_weight(RmsNormBackward args, int64_t blocks) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (j >= args.hidden) return;
  float sum = 0.0f;
  for (int64_t b = 0; b < blocks; ++b) sum += args.partial[b * args.hidden + j];
  set(static_cast<T*>(args.grad_weight)[j], sum);
}

template <typename T>
void backward(const RmsNormBackward& args, cudaStream_t stream) {
  const int64_t blocks = (args.tokens + kRmsNormBlock - 1) / kRmsNormBlock;
  const dim3 grid(cuda_blocks(args.hidden), static_cast<unsigned>(blocks));
  backward_x<T><<<static_cast<unsigned>(args.tokens), kCudaThreads, 0, stream>>>(args);
  backward_weight<T><<<grid, kCudaThreads, 0, stream>>>(args);
  finish_weight<T><<<cuda_blocks(args.hidden), kCudaThreads, 0, stream>>>(args, blocks);
}

}  // namespace

void rms_norm_forward_cuda(const RmsNormForward& args, void* stream) {
  const unsigned tokens = static_cast<unsigned>(args.tokens);
  if (args.bf16) {
    forward<__nv_bfloat16><<<tokens, kCudaThreads, 0, as_stream(stream)>>>(args);
  } else {
    forward<float><<<tokens, kCudaThreads, 0, as_stream(stream)>>>(args);
  }
}

void rms_norm_backward_cuda(const RmsNormBackward& args, void* stream) {
  args.bf16 ? backward<__nv_bfloat16>(args, as_stream(stream)) : backward<float>(args, as_stream(stream));
}

}  // namespace prudent::kernels
