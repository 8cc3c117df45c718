#include "kernels/activation_backward/activation_backward_kernel.h"
#include "kernels/common/column_sums.cuh"
#include "kernels/geglu/geglu_cuda.cuh"

namespace prudent::kernels {

namespace {

// One block for kActivationBlock tokens of kCudaThreads * kItems columns: a thread's columns stay the same from token to token.
template <int kItems, typename T>
__global__ void columns(ActivationBackwardArgs args) {
  const int64_t j = (static_cast<int64_t>(blockIdx.y) * kCudaThreads + threadIdx.x) * kItems;
  if (j >= args.size) return;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kActivationBlock;
  const int64_t last = first + kActivationBlock < args.tokens ? first + kActivationBlock : args.tokens;
  float sums[kItems] = {};
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * args.size + j;
    float grad[kItems], u[kItems];
    load<kItems>(static_cast<const T*>(args.grad_y) + at, grad);
    if (args.u != nullptr) {
      load<kItems>(static_cast<const T*>(args.u) + at, u);
#pragma unroll
      for (int i = 0; i < kItems; ++i) grad[i] *= activate(u[i], args.kind).slope;
      store<kItems>(static_cast<T*>(args.grad_u) + at, grad);
    }
    // The bias gets the sum of what was stored, as a sum over grad_u would.
#pragma unroll
    for (int i = 0; i < kItems; ++i) sums[i] += round_to<T>(grad[i]);
  }
  if (args.grad_bias != nullptr) store<kItems>(args.partial + static_cast<int64_t>(blockIdx.x) * args.size + j, sums);
}

template <typename T>
void run(const ActivationBackwardArgs& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const int64_t blocks = (args.tokens + kActivationBlock - 1) / kActivationBlock;
  const bool packs = can_pack<kItems>(args.size, static_cast<const T*>(args.grad_y), static_cast<const T*>(args.u),
                                      static_cast<const T*>(args.grad_u)) &&
                     can_pack<kItems>(args.size, args.partial);
  const unsigned grid = static_cast<unsigned>(blocks);
  if (grid > 0 && packs) {
    launch(columns<kItems, T>, dim3(grid, cuda_blocks(args.size, kCudaThreads * kItems)), kCudaThreads, stream, args);
  } else if (grid > 0) {
    launch(columns<1, T>, dim3(grid, cuda_blocks(args.size)), kCudaThreads, stream, args);
  }
  if (args.grad_bias != nullptr) column_sums<T>(args.partial, blocks, args.size, args.size, args.grad_bias, stream);
}

}  // namespace

void activation_backward_run_cuda(const ActivationBackwardArgs& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
