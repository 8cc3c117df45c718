#include "kernels/common/cuda_support.cuh"
#include "kernels/multi_head/multi_head_kernel.h"

namespace prudent::kernels {

namespace {

// One block a score.
template <int kItems, typename H, typename W>
__global__ void forward(MultiHeadForward args) {
  __shared__ float shared[kCudaWarps];
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const H* hidden = static_cast<const H*>(args.hidden) + args.index[row] * args.size;
  const W* weight = static_cast<const W*>(args.weight) + head * args.size;
  float sum = 0.0f, h[kItems], w[kItems];
  for (int64_t j = threadIdx.x * kItems; j < args.size; j += static_cast<int64_t>(blockDim.x) * kItems) {
    load<kItems>(hidden + j, h);
    load<kItems>(weight + j, w);
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum += h[i] * w[i];
  }
  sum = block_reduce(sum, shared, Sum());
  if (threadIdx.x == 0) args.scores[row * args.heads + head] = sum;
}

// One block for some columns of a row. Rows that share a token are added by the first of them, in order.
template <typename W>
__global__ void backward_hidden(MultiHeadBackward args) {
  const int64_t row = blockIdx.x, token = args.index[row];
  const int64_t j = static_cast<int64_t>(blockIdx.y) * kCudaThreads + threadIdx.x;
  for (int64_t r = 0; r < row; ++r) {
    if (args.index[r] == token) return;
  }
  if (j >= args.size) return;
  float total = 0.0f;
  for (int64_t r = row; r < args.rows; ++r) {
    if (args.index[r] != token) continue;
    float sum = 0.0f;
    for (int64_t n = 0; n < args.heads; ++n) {
      sum += args.grad_scores[r * args.heads + n] * to_float(static_cast<const W*>(args.weight)[n * args.size + j]);
    }
    total += sum;
  }
  args.grad_hidden[token * args.size + j] = total;
}

// One block for a warp of columns of a head: its warps share the rows, then their sums are added in order.
template <typename H>
__global__ void backward_weight(MultiHeadBackward args) {
  __shared__ float shared[kCudaWarps][kWarp];
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kWarp + lane, head = blockIdx.y;
  float sum = 0.0f;
  if (j < args.size) {
    for (int64_t r = warp; r < args.rows; r += kCudaWarps) {
      sum +=
          args.grad_scores[r * args.heads + head] * to_float(static_cast<const H*>(args.hidden)[args.index[r] * args.size + j]);
    }
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || j >= args.size) return;
  for (int w = 1; w < kCudaWarps; ++w) sum += shared[w][lane];
  args.grad_weight[head * args.size + j] = sum;
}

template <typename H, typename W>
void run(const MultiHeadForward& args, void* stream) {
  constexpr int kItems = sizeof(H) < sizeof(W) ? kPackItems<H> : kPackItems<W>;
  const dim3 grid(static_cast<unsigned>(args.rows), static_cast<unsigned>(args.heads));
  if (can_pack<kItems>(args.size, static_cast<const H*>(args.hidden)) &&
      can_pack<kItems>(args.size, static_cast<const W*>(args.weight))) {
    launch(forward<kItems, H, W>, grid, row_threads(args.size / kItems), stream, args);
  } else {
    launch(forward<1, H, W>, grid, row_threads(args.size), stream, args);
  }
}

template <typename H, typename W>
void run(const MultiHeadBackward& args, void* stream) {
  if (args.grad_hidden != nullptr && args.rows > 0) {
    const dim3 grid(static_cast<unsigned>(args.rows), cuda_blocks(args.size));
    launch(backward_hidden<W>, grid, kCudaThreads, stream, args);
  }
  if (args.grad_weight != nullptr) {
    const dim3 grid(cuda_blocks(args.size, kWarp), static_cast<unsigned>(args.heads));
    launch(backward_weight<H>, grid, kCudaThreads, stream, args);
  }
}

template <typename Args>
void run_for_dtypes(const Args& args, void* stream) {
  if (args.hidden_bf16) {
    args.weight_bf16 ? run<__nv_bfloat16, __nv_bfloat16>(args, stream) : run<__nv_bfloat16, float>(args, stream);
  } else {
    args.weight_bf16 ? run<float, __nv_bfloat16>(args, stream) : run<float, float>(args, stream);
  }
}

}  // namespace

void multi_head_forward_cuda(const MultiHeadForward& args, void* stream) { run_for_dtypes(args, stream); }
void multi_head_backward_cuda(const MultiHeadBackward& args, void* stream) { run_for_dtypes(args, stream); }

}  // namespace prudent::kernels
