#include "kernels/bradley_terry/bradley_terry_kernel.h"
#include "kernels/bradley_terry/bradley_terry_math.h"
#include "kernels/common/isa_parallel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

void run_block(const BradleyTerryArgs& args, int64_t block) {
  double* partial = args.partial + block * args.heads * 2;
  for (int64_t n = 0; n < 2 * args.heads; ++n) partial[n] = 0.0;
  const float scale = 1.0f / static_cast<float>(args.pairs);
  for (int64_t i = block * kPairBlock; i < min_of(args.pairs, (block + 1) * kPairBlock); ++i) {
    for (int64_t n = 0; n < args.heads; ++n) {
      const int64_t at = i * args.heads + n;
      const PairTerm term = pair_term(args.chosen[at], args.rejected[at]);
      args.grad_chosen[at] = term.slope * scale;
      args.grad_rejected[at] = -term.slope * scale;
      partial[2 * n] += term.loss;
      partial[2 * n + 1] += args.chosen[at] > args.rejected[at] ? 1.0 : 0.0;
    }
  }
}

}  // namespace

void bradley_terry_run(const BradleyTerryArgs& args) {
  const int64_t blocks = (args.pairs + kPairBlock - 1) / kPairBlock;
  parallel_for(blocks, 1 + 64 / args.heads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) run_block(args, b);
  });
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

}  // namespace prudent::kernels::PRUDENT_ISA
