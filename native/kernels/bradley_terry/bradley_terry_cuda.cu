#include "kernels/bradley_terry/bradley_terry_kernel.h"
#include "kernels/bradley_terry/bradley_terry_math.h"
#include "kernels/common/cuda_support.cuh"

namespace prudent::kernels {

namespace {

constexpr int kFinishThreads = 256;

// One block for kPairBlock pairs, one thread a pair.
__global__ void terms(BradleyTerryArgs args) {
  __shared__ double shared[kPairBlock / kWarp];
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * kPairBlock + threadIdx.x;
  const float scale = 1.0f / static_cast<float>(args.pairs);
  for (int64_t n = 0; n < args.heads; ++n) {
    double loss = 0.0, hit = 0.0;
    if (pair < args.pairs) {
      const int64_t at = pair * args.heads + n;
      const PairTerm term = pair_term(args.chosen[at], args.rejected[at]);
      args.grad_chosen[at] = term.slope * scale;
      args.grad_rejected[at] = -term.slope * scale;
      loss = term.loss;
      hit = args.chosen[at] > args.rejected[at] ? 1.0 : 0.0;
    }
    loss = block_reduce(loss, shared, Sum());
    hit = block_reduce(hit, shared, Sum());
    if (threadIdx.x == 0) {
      double* partial = args.partial + (static_cast<int64_t>(blockIdx.x) * args.heads + n) * 2;
      partial[0] = loss;
      partial[1] = hit;
    }
  }
}

// One thread a head; the mean losses then stand where the first block's sums were.
__global__ void finish(BradleyTerryArgs args, int64_t blocks) {
  for (int64_t n = threadIdx.x; n < args.heads; n += kFinishThreads) {
    double loss = 0.0, hits = 0.0;
    for (int64_t b = 0; b < blocks; ++b) {
      loss += args.partial[(b * args.heads + n) * 2];
      hits += args.partial[(b * args.heads + n) * 2 + 1];
    }
    loss /= static_cast<double>(args.pairs);
    args.loss_per_head[n] = static_cast<float>(loss);
    args.accuracy_per_head[n] = static_cast<float>(hits / static_cast<double>(args.pairs));
    args.partial[n * 2] = loss;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  double total = 0.0;
  for (int64_t n = 0; n < args.heads; ++n) total += args.partial[n * 2];
  *args.loss = static_cast<float>(total);
}

}  // namespace

void bradley_terry_run_cuda(const BradleyTerryArgs& args, void* stream) {
  const int64_t blocks = (args.pairs + kPairBlock - 1) / kPairBlock;
  launch(terms, static_cast<unsigned>(blocks), kPairBlock, stream, args);
  launch(finish, 1, kFinishThreads, stream, args, blocks);
}

}  // namespace prudent::kernels
