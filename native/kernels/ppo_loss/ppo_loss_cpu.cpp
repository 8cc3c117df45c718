#include "kernels/common/isa_parallel.h"
#include "kernels/ppo_loss/ppo_loss_kernel.h"
#include "kernels/ppo_loss/ppo_loss_math.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

PpoSums run_row(const PpoLossArgs& args, int64_t row, float scale) {
  const int64_t start = row * args.time, length = bounded_length(args, row);
  PpoSums sums = {};
  for (int64_t t = 0; t < length; ++t) {
    const PpoSlopes slopes = ppo_token(token_at(args, start + t), args, sums);
    args.grad_logprobs[start + t] = slopes.logprob * scale;
    args.grad_values[start + t] = slopes.value * scale;
  }
  fill_zero(args.grad_logprobs + start + length, args.time - length);
  fill_zero(args.grad_values + start + length, args.time - length);
  return sums;
}

}  // namespace

void ppo_loss_run(const PpoLossArgs& args) {
  int64_t count = 0;
  for (int64_t row = 0; row < args.batch; ++row) count += bounded_length(args, row);
  const float scale = 1.0f / static_cast<float>(count);
  parallel_for(args.batch, 1 + 2048 / args.time, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) args.parts[row] = run_row(args, row, scale);
  });
  PpoSums total = {};
  for (int64_t row = 0; row < args.batch; ++row) add_sums(total, args.parts[row]);
  *args.total = total;
  write_losses(args, total);
  if (ratio_exceeded(total, args.ratio_threshold)) {
    fill_zero(args.grad_logprobs, args.batch * args.time);
    fill_zero(args.grad_values, args.batch * args.time);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
