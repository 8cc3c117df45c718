#include "kernels/common/isa_parallel.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_kernel.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_math.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

Whitening whitening_over_rows(const VarianceKlAdvantageArgs& args) {
  RowMoments total = {0.0, 0.0};
  int64_t count = 0;
  for (int64_t row = 0; row < args.batch; ++row) {
    total.sum += args.moments[row].sum;
    total.sum_of_squares += args.moments[row].sum_of_squares;
    count += bounded_length(args, row);
  }
  return whitening_of(total, count);
}

template <typename Body>
PRUDENT_VEC void each_row(const VarianceKlAdvantageArgs& args, const Body& body) {
  parallel_for(args.batch, 1 + 4096 / args.time, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace

void variance_kl_advantage_run(const VarianceKlAdvantageArgs& args) {
  if (args.whiten_rewards) {
    each_row(args, [&](int64_t row) { args.moments[row] = reward_row(args, row); });
    const Whitening w = whitening_over_rows(args);
    each_row(args, [&](int64_t row) {
      whiten_row(args, row, args.rewards, w, false);
      args.moments[row] = advantage_row(args, row);
    });
  } else {
    each_row(args, [&](int64_t row) {
      reward_row(args, row);
      args.moments[row] = advantage_row(args, row);
    });
  }
  if (!args.whiten) return;
  const Whitening w = whitening_over_rows(args);
  each_row(args, [&](int64_t row) { whiten_row(args, row, args.advantages, w, true); });
}

}  // namespace prudent::kernels::PRUDENT_ISA
