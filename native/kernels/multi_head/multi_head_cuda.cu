#include "kernels/common/cuda_support.cuh"
#include "kernels/multi_head/multi_head_kernel.h"

namespace prudent::kernels {

namespace {

// One block a score.
template <typename H, typename W>
__global__ void forward(MultiHeadForward args) {
  __shared__ float shared[kCudaThreads];
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const H* hidden = static_cast<const H*>(args.hidden) + args.index[row] * args.size;
  const W* weight = static_cast<const W*>(args.weight) + head * args.size;
  float sum = 0.0f;
  for (int64_t j = threadIdx.x; j < args.size; j += kCudaThreads) sum += to_float(hidden[j]) * to_float(weight[j]);
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) args.scores[row * args.heads + head] = sum;
}

// One thread a column: rows that share a token are added in order, by one thread.
template <typename H, typename W>
__global__ void backward(MultiHeadBackward args) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (j >= args.size) return;
  if (args.grad_hidden != nullptr) {
    for (int64_t r = 0; r < args.rows; ++r) {
      float sum = 0.0f;
      for (int64_t n = 0; n < args.heads; ++n) {
        sum += args.grad_scores[r * args.heads + n] * to_float(static_cast<const W*>(args.weight)[n * args.size + j]);
      }
      args.grad_hidden[args.index[r] * args.size + j] += sum;
    }
  }
  if (args.grad_weight == nullptr) return;
  for (int64_t n = 0; n < args.heads; ++n) {
    float sum = 0.0f;
    for (int64_t r = 0; r < args.rows; ++r) {
      sum += args.grad_scores[r * args.heads + n] * to_float(static_cast<const H*>(args.hidden)[args.index[r] * args.size + j]);
    }
    args.grad_weight[n * args.size + j] = sum;
  }
}

template <typename H, typename W>
void run(const MultiHeadForward& args, cudaStream_t stream) {
  forward<H, W><<<dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(args.heads)), kCudaThreads, 0, stream>>>(args);
}
template <typename H, typename W>
void run(const MultiHeadBackward& args, cudaStream_t stream) {
  backward<H, W><<<cuda_blocks(args.size), kCudaThreads, 0, stream>>>(args);
}

template <typename Args>
void run_for_dtypes(const Args& args, cudaStream_t stream) {
  if (args.hidden_bf16) {
    args.weight_bf16 ? run<__nv_bfloat16, __nv_bfloat16>(args, stream) : run<__nv_bfloat16, float>(args, stream);
  } else {
    args.weight_bf16 ? run<float, __nv_bfloat16>(args, stream) : run<float, float>(args, stream);
  }
}

}  // namespace

void multi_head_forward_cuda(const MultiHeadForward& args, void* stream) { run_for_dtypes(args, as_stream(stream)); }
void multi_head_backward_cuda(const MultiHeadBackward& args, void* stream) { run_for_dtypes(args, as_stream(stream)); }

}  // namespace prudent::kernels
