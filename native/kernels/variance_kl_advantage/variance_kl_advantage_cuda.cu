#include "kernels/common/cuda_support.cuh"
#include "kernels/variance_kl_advantage/variance_kl_advantage_kernel.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_math.h"

namespace prudent::kernels {

namespace {

// One warp a row, so that its lanes read neighbouring tokens.
__device__ __forceinline__ int64_t row_of_warp() { return static_cast<int64_t>(blockIdx.x) * kCudaWarps + threadIdx.x / kWarp; }
__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x % kWarp); }

__device__ __forceinline__ void write_moments(const VarianceKlAdvantageArgs& args, int64_t row, RowMoments moments) {
  moments.sum = warp_reduce(moments.sum, Sum());
  moments.sum_of_squares = warp_reduce(moments.sum_of_squares, Sum());
  if (lane_of_thread() == 0) args.moments[row] = moments;
}

__global__ void rewards(VarianceKlAdvantageArgs args) {
  const int64_t row = row_of_warp();
  if (row >= args.batch) return;
  const int64_t length = bounded_length(args, row);
  RowMoments moments = {0.0, 0.0};
  for (int64_t t = lane_of_thread(); t < args.time; t += kWarp) reward_token(args, row, t, length, moments);
  write_moments(args, row, moments);
}

// A_t = delta_t + decay * A_{t+1}: 32 tokens at a time from the row's end, each lane adding up the lanes behind it.
__global__ void advantages(VarianceKlAdvantageArgs args) {
  const int64_t row = row_of_warp();
  if (row >= args.batch) return;
  const int lane = lane_of_thread();
  const int64_t start = row * args.time, length = bounded_length(args, row);
  const float decay = args.gamma * args.lambda;
  RowMoments moments = {0.0, 0.0};
  float behind = 0.0f;  // advantage of the token that follows the 32
  for (int64_t first = (length - 1) / kWarp * kWarp; first >= 0 && length > 0; first -= kWarp) {
    const int64_t t = first + lane, at = start + t;
    const bool valid = t < length;
    const float value = valid ? args.values[at] : 0.0f;
    float advantage = valid ? args.rewards[at] + args.gamma * (t + 1 < length ? args.values[at + 1] : 0.0f) - value : 0.0f;
    float factor = decay;
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const float other = __shfl_down_sync(0xffffffffu, advantage, step);
      if (lane + step < kWarp) advantage += factor * other;
      factor *= factor;
    }
    advantage += powf(decay, static_cast<float>(kWarp - lane)) * behind;
    behind = __shfl_sync(0xffffffffu, advantage, 0);
    if (!valid) continue;  // rejoins at the next tokens, where all lanes are valid
    args.advantages[at] = advantage;
    args.returns[at] = advantage + value;
    moments.sum += advantage;
    moments.sum_of_squares += static_cast<double>(advantage) * advantage;
  }
  for (int64_t t = length + lane; t < args.time; t += kWarp) {
    args.advantages[start + t] = 0.0f;
    args.returns[start + t] = 0.0f;
  }
  write_moments(args, row, moments);
}

// Every block adds up all rows, in the same order, and whitens its own.
__global__ void whiten(VarianceKlAdvantageArgs args, float* data, bool shift_mean) {
  __shared__ double shared[kCudaWarps];
  double sum = 0.0, squares = 0.0, count = 0.0;
  for (int64_t row = threadIdx.x; row < args.batch; row += kCudaThreads) {
    sum += args.moments[row].sum;
    squares += args.moments[row].sum_of_squares;
    count += static_cast<double>(bounded_length(args, row));
  }
  sum = block_reduce(sum, shared, Sum());
  squares = block_reduce(squares, shared, Sum());
  count = block_reduce(count, shared, Sum());
  const Whitening w = whitening_of({sum, squares}, static_cast<int64_t>(count));
  const int64_t row = row_of_warp();
  if (row >= args.batch) return;
  const int64_t length = bounded_length(args, row);
  for (int64_t t = lane_of_thread(); t < length; t += kWarp) {
    float& item = data[row * args.time + t];
    item = whitened(item, w, shift_mean);
  }
}

}  // namespace

void variance_kl_advantage_run_cuda(const VarianceKlAdvantageArgs& args, void* stream) {
  const unsigned blocks = cuda_blocks(args.batch, kCudaWarps);
  launch(rewards, blocks, kCudaThreads, stream, args);
  if (args.whiten_rewards) launch(whiten, blocks, kCudaThreads, stream, args, args.rewards, false);
  launch(advantages, blocks, kCudaThreads, stream, args);
  if (args.whiten) launch(whiten, blocks, kCudaThreads, stream, args, args.advantages, true);
}

}  // namespace prudent::kernels
