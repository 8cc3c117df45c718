#include "kernels/bradley_terry/bradley_terry_kernel.h"
#include "kernels/bradley_terry/bradley_terry_math.h"
#include "kernels/common/cuda_support.cuh"

namespace prudent::kernels {

namespace {

// One thread a head and block of pairs, as on the CPU: the sums come out in the same order.
__global__ void terms(BradleyTerryArgs args) {
  const int64_t n = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x, block = blockIdx.x;
  if (n >= args.heads) return;
  const float scale = 1.0f / static_cast<float>(args.pairs);
  const int64_t last = (block + 1) * kPairBlock < args.pairs ? (block + 1) * kPairBlock : args.pairs;
  double loss = 0.0, hits = 0.0;
  for (int64_t i = block * kPairBlock; i < last; ++i) {
    const int64_t at = i * args.heads + n;
    const PairTerm term = pair_term(args.chosen[at], args.rejected[at]);
    args.grad_chosen[at] = term.slope * scale;
    args.grad_rejected[at] = -term.slope * scale;
    loss += term.loss;
    hits += args.chosen[at] > args.rejected[at] ? 1.0 : 0.0;
  }
  args.partial[(block * args.heads + n) * 2] = loss;
  args.partial[(block * args.heads + n) * 2 + 1] = hits;
}

__global__ void finish(BradleyTerryArgs args, int64_t blocks) {
  double total = 0.0;
  for (int64_t n = 0; n < args.heads; ++n) {
    double loss = 0.0, hits = 0.0;
    for (int64_t b = 0; b < blocks; ++b) {
      loss += args.partial[(b * args.heads + n) * 2];
      hits += args.partial[(b * args.heads + n) * 2 + 1];
    }
    args.loss_per_head[n] = static_cast<float>(loss / static_cast<double>(args.pairs));
    args.accuracy_per_head[n] = static_cast<float>(hits / static_cast<double>(args.pairs));
    total += loss / static_cast<double>(args.pairs);
  }
  *args.loss = static_cast<float>(total);
}

}  // namespace

void bradley_terry_run_cuda(const BradleyTerryArgs& args, void* stream) {
  constexpr int kThreads = 32;  // heads are few
  const int64_t blocks = (args.pairs + kPairBlock - 1) / kPairBlock;
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>((args.heads + kThreads - 1) / kThreads));
  terms<<<grid, kThreads, 0, as_stream(stream)>>>(args);
  finish<<<1, 1, 0, as_stream(stream)>>>(args, blocks);
}

}  // namespace prudent::kernels
