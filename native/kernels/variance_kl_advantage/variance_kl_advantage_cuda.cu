#include "kernels/common/cuda_support.cuh"
#include "kernels/variance_kl_advantage/variance_kl_advantage_kernel.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_math.h"

namespace prudent::kernels {

namespace {

// One thread a row: the recursion over time is serial, rows are independent.
__global__ void rewards(VarianceKlAdvantageArgs args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (row < args.batch) args.moments[row] = reward_row(args, row);
}

__global__ void advantages(VarianceKlAdvantageArgs args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (row < args.batch) args.moments[row] = advantage_row(args, row);
}

// Every block adds up all rows, in the same order, and whitens its own.
__global__ void whiten(VarianceKlAdvantageArgs args, float* data, bool shift_mean) {
  __shared__ double shared[kCudaThreads];
  double sum = 0.0, squares = 0.0, count = 0.0;
  for (int64_t row = threadIdx.x; row < args.batch; row += kCudaThreads) {
    sum += args.moments[row].sum;
    squares += args.moments[row].sum_of_squares;
    count += static_cast<double>(bounded_length(args, row));
  }
  sum = block_sum(sum, shared);
  squares = block_sum(squares, shared);
  count = block_sum(count, shared);
  const Whitening w = whitening_of({sum, squares}, static_cast<int64_t>(count));
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (row < args.batch) whiten_row(args, row, data, w, shift_mean);
}

}  // namespace

void variance_kl_advantage_run_cuda(const VarianceKlAdvantageArgs& args, void* stream) {
  const unsigned blocks = cuda_blocks(args.batch);
  rewards<<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args);
  if (args.whiten_rewards) whiten<<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args, args.rewards, false);
  advantages<<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args);
  if (args.whiten) whiten<<<blocks, kCudaThreads, 0, as_stream(stream)>>>(args, args.advantages, true);
}

}  // namespace prudent::kernels
