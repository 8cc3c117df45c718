#include "kernels/common/cuda_support.cuh"
#include "kernels/ppo_loss/ppo_loss_kernel.h"
#include "kernels/ppo_loss/ppo_loss_math.h"

namespace prudent::kernels {

namespace {

// The fields of PpoSums are added up side by side.
constexpr int kFinishThreads = kPpoSums * kWarp;
static_assert(sizeof(PpoSums) == kPpoSums * sizeof(double) && kFinishThreads <= 1024);

__device__ __forceinline__ double count_tokens(const PpoLossArgs& args, double* shared) {
  double count = 0.0;
  for (int64_t row = threadIdx.x; row < args.batch; row += kCudaThreads) count += static_cast<double>(bounded_length(args, row));
  return block_reduce(count, shared, Sum());
}

__device__ __forceinline__ void write_part(const PpoSums& sums, PpoSums* to, double (*shared)[kPpoSums]) {
  const double* fields = reinterpret_cast<const double*>(&sums);
#pragma unroll
  for (int i = 0; i < kPpoSums; ++i) {
    const double sum = warp_reduce(fields[i], Sum());
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp][i] = sum;
  }
  __syncthreads();
  if (threadIdx.x >= kPpoSums) return;
  double sum = 0.0;
  for (int warp = 0; warp < kCudaWarps; ++warp) sum += shared[warp][threadIdx.x];
  reinterpret_cast<double*>(to)[threadIdx.x] = sum;
}

// One block for kPpoCudaTokens tokens of a row.
__global__ void tokens(PpoLossArgs args) {
  __shared__ double counts[kCudaWarps];
  __shared__ double fields[kCudaWarps][kPpoSums];
  const float scale = 1.0f / static_cast<float>(count_tokens(args, counts));
  const int64_t row = blockIdx.x, start = row * args.time, length = bounded_length(args, row);
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kPpoCudaTokens;
  const int64_t last = first + kPpoCudaTokens < args.time ? first + kPpoCudaTokens : args.time;
  PpoSums sums = {};
  for (int64_t t = first + threadIdx.x; t < last; t += kCudaThreads) {
    PpoSlopes slopes = {0.0f, 0.0f};
    if (t < length) slopes = ppo_token(token_at(args, start + t), args, sums);
    args.grad_logprobs[start + t] = slopes.logprob * scale;
    args.grad_values[start + t] = slopes.value * scale;
  }
  write_part(sums, args.parts + row * gridDim.y + blockIdx.y, fields);
}

// One warp a field.
__global__ void add_parts(PpoLossArgs args, int64_t parts) {
  __shared__ double fields[kPpoSums];
  const int field = static_cast<int>(threadIdx.x) / kWarp;
  double sum = 0.0;
  for (int64_t i = threadIdx.x % kWarp; i < parts; i += kWarp) sum += reinterpret_cast<const double*>(args.parts + i)[field];
  sum = warp_reduce(sum, Sum());
  if (threadIdx.x % kWarp == 0) {
    fields[field] = sum;
    reinterpret_cast<double*>(args.total)[field] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) write_losses(args, *reinterpret_cast<const PpoSums*>(fields));
}

__global__ void drop_if_exceeded(PpoLossArgs args) {
  if (!ratio_exceeded(*args.total, args.ratio_threshold)) return;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (i >= args.batch * args.time) return;
  args.grad_logprobs[i] = 0.0f;
  args.grad_values[i] = 0.0f;
}

}  // namespace

void ppo_loss_run_cuda(const PpoLossArgs& args, void* stream) {
  const dim3 grid(static_cast<unsigned>(args.batch), cuda_blocks(args.time, kPpoCudaTokens));
  launch(tokens, grid, kCudaThreads, stream, args);
  launch(add_parts, 1, kFinishThreads, stream, args, static_cast<int64_t>(grid.x) * grid.y);
  launch(drop_if_exceeded, cuda_blocks(args.batch * args.time), kCudaThreads, stream, args);
}

}  // namespace prudent::kernels
