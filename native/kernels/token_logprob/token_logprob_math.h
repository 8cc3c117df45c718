// Running softmax states: shared by the CPU and CUDA versions.
#pragma once

#include <math.h>

#include "kernels/common/softmax_math.h"
#include "kernels/token_logprob/token_logprob_kernel.h"

namespace prudent::kernels {

PRUDENT_MATH SoftmaxState fresh_state() { return {-HUGE_VALF, 0.0f, 0.0f, 0.0f}; }

// `weighted` is a sum of exp(l - max) * (l - max): with a larger maximum each term gains (old - new maximum).
PRUDENT_MATH void raise_max(SoftmaxState& state, float max) {
  if (state.sum > 0.0f) {
    const float factor = softmax_rescale(state.max, max);
    state.weighted = factor * (state.weighted + state.sum * (state.max - max));
    state.sum *= factor;
  }
  state.max = max;
}

// `weighted` is a sum of exp(p - max) * (p - q), which a larger maximum only scales.
PRUDENT_MATH void raise_kl_max(SoftmaxState& state, float max) {
  const float factor = state.sum > 0.0f ? softmax_rescale(state.max, max) : 0.0f;
  state.weighted *= factor;
  state.sum *= factor;
  state.max = max;
}

// One logit more; the maximum is at least as large.
PRUDENT_MATH void add_logit(SoftmaxState& state, float logit, bool want_entropy) {
  const float shifted = logit - state.max, e = expf(shifted);
  state.sum += e;
  if (want_entropy && e > 0.0f) state.weighted += e * shifted;
}

// One pair of logits of p and q more.
PRUDENT_MATH void add_kl_logits(SoftmaxState& p, SoftmaxState& q, float logit_p, float logit_q) {
  const float e = logit_p == -HUGE_VALF ? 0.0f : expf(logit_p - p.max);
  p.sum += e;
  q.sum += logit_q == -HUGE_VALF ? 0.0f : expf(logit_q - q.max);
  if (e > 0.0f) p.weighted += e * (logit_p - logit_q);
}

PRUDENT_MATH void finish_token(const LogprobFinish& args, int64_t t) {
  const SoftmaxState state = args.states[t];
  const float log_sum = logf(state.sum);
  args.logsumexps[t] = state.max + log_sum;
  args.logprobs[t] = (state.target - state.max) - log_sum;
  if (args.entropy != nullptr) args.entropy[t] = log_sum - state.weighted / state.sum;
}

PRUDENT_MATH void finish_kl_token(const KlFinish& args, int64_t t) {
  const SoftmaxState p = args.p_states[t], q = args.q_states[t];
  args.kl[t] = p.weighted / p.sum - ((p.max + logf(p.sum)) - (q.max + logf(q.sum)));
}

}  // namespace prudent::kernels
