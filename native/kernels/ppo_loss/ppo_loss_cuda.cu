#include "kernels/common/cuda_support.cuh"
#include "kernels/ppo_loss/ppo_loss_kernel.h"
#include "kernels/ppo_loss/ppo_loss_math.h"

namespace prudent::kernels {

namespace {

__device__ int64_t count_tokens(const PpoLossArgs& args, double* shared) {
  double count = 0.0;
  for (int64_t row = threadIdx.x; row < args.batch; row += kCudaThreads) count += static_cast<double>(bounded_length(args, row));
  return static_cast<int64_t>(block_sum(count, shared));
}

// One block a row.
__global__ void rows(PpoLossArgs args) {
  __shared__ double shared[kCudaThreads];
  const float scale = 1.0f / static_cast<float>(count_tokens(args, shared));
  const int64_t row = blockIdx.x, start = row * args.time, length = bounded_length(args, row);
  PpoSums sums = {};
  for (int64_t t = threadIdx.x; t < args.time; t += kCudaThreads) {
    PpoSlopes slopes = {0.0f, 0.0f};
    if (t < length) slopes = ppo_token(token_at(args, start + t), args, sums);
    args.grad_logprobs[start + t] = slopes.logprob * scale;
    args.grad_values[start + t] = slopes.value * scale;
  }
  double* fields = reinterpret_cast<double*>(&sums);
  double* to = reinterpret_cast<double*>(args.rows + row);
  for (int i = 0; i < kPpoSums; ++i) {
    const double sum = block_sum(fields[i], shared);
    if (threadIdx.x == 0) to[i] = sum;
  }
}

__global__ void add_rows(PpoLossArgs args) {
  PpoSums total = {};
  for (int64_t row = 0; row < args.batch; ++row) add_sums(total, args.rows[row]);
  *args.total = total;
}

__global__ void drop_if_exceeded(PpoLossArgs args) {
  __shared__ double shared[kCudaThreads];
  const int64_t count = count_tokens(args, shared);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (i >= args.batch * args.time || !ratio_exceeded(*args.total, count, args.ratio_threshold)) return;
  args.grad_logprobs[i] = 0.0f;
  args.grad_values[i] = 0.0f;
}

}  // namespace

void ppo_loss_run_cuda(const PpoLossArgs& args, void* stream) {
  rows<<<static_cast<unsigned>(args.batch), kCudaThreads, 0, as_stream(stream)>>>(args);
  add_rows<<<1, 1, 0, as_stream(stream)>>>(args);
  drop_if_exceeded<<<cuda_blocks(args.batch * args.time), kCudaThreads, 0, as_stream(stream)>>>(args);
}

}  // namespace prudent::kernels
