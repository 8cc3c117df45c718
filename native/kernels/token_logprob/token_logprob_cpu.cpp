#include "kernels/common/isa_parallel.h"
#include "kernels/token_logprob/token_logprob_kernel.h"
#include "kernels/token_logprob/token_logprob_math.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// Logits of one token in one chunk, bias and temperature applied on the way.
template <typename T>
struct Row {
  const T *logits, *bias;
  float scale;
  int64_t columns;

  Row(const LogitsChunk& chunk, int64_t token)
      : logits(static_cast<const T*>(chunk.logits) + token * chunk.stride),
        bias(static_cast<const T*>(chunk.bias)),
        scale(chunk.inverse_temperature),
        columns(chunk.columns) {}

  inline __attribute__((always_inline)) Vec at(int64_t i, int64_t n) const {
    const Vec x = load_at(logits + i, n);
    return (bias == nullptr ? x : x + load_at(bias + i, n)) * scale;
  }
  inline __attribute__((always_inline)) float at(int64_t i) const {
    return (to_float(logits[i]) + (bias == nullptr ? 0.0f : to_float(bias[i]))) * scale;
  }
};

template <typename T>
float maximum(const Row<T>& row) {
  Vec best = broadcast(-__builtin_inff());
  int64_t i = 0;
  for (; i + kWidth <= row.columns; i += kWidth) best = max_of(row.at(i, kWidth), best);
  float top = max_lanes(best);
  for (; i < row.columns; ++i) top = row.at(i) > top ? row.at(i) : top;
  return top;
}

template <typename T>
void accumulate_token(const LogprobAccumulate& args, int64_t t) {
  const Row<T> row(args.chunk, t);
  SoftmaxState& state = args.states[t];
  if (args.chunk.first == 0) state = fresh_state();
  const float chunk_max = maximum(row);
  const float max = chunk_max > state.max ? chunk_max : state.max;
  Vec sum = {}, weighted = {};
  if (args.want_entropy) {
    each_vector(
        row.columns, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const Vec shifted = row.at(i, n) - max, e = first_lanes(exp(shifted), n);
          sum += e;
          weighted += e * max_of(shifted, broadcast(-1e4f));  // a logit of -infinity adds 0
        });
  } else {
    each_vector(
        row.columns, [&](int64_t i, int64_t n)
                         __attribute__((always_inline)) { sum += first_lanes(exp(row.at(i, n) - max), n); });
  }
  raise_max(state, max);
  state.sum += sum_lanes(sum);
  state.weighted += sum_lanes(weighted);
  const int64_t target = args.targets[t] - args.chunk.first;
  if (target >= 0 && target < row.columns) state.target = row.at(target);
}

template <typename T>
void gradient_of_token(const LogprobGradient& args, int64_t t) {
  const Row<T> row(args.chunk, t);
  T* out = static_cast<T*>(args.slopes) + t * args.chunk.stride;
  const float logsumexp = args.logsumexps[t], scale = args.grad[t] * args.chunk.inverse_temperature;
  const int64_t target = args.targets[t] - args.chunk.first;
  const bool here = target >= 0 && target < row.columns;
  // Taken before the logit may be overwritten.
  const float at_target = here ? scale * (1.0f - __builtin_expf(row.at(target) - logsumexp)) : 0.0f;
  each_vector(
      row.columns, [&](int64_t i, int64_t n)
                       __attribute__((always_inline)) { store_at(out + i, -scale * exp(row.at(i, n) - logsumexp), n); });
  if (here) set(out[target], at_target);
  for (int64_t i = row.columns; i < args.chunk.stride; ++i) set(out[i], 0.0f);
}

template <typename T>
void kl_of_token(const KlAccumulate& args, int64_t t) {
  const Row<T> p(args.p, t), q(args.q, t);
  SoftmaxState &ps = args.p_states[t], &qs = args.q_states[t];
  if (args.p.first == 0) ps = qs = fresh_state();
  const float p_chunk = maximum(p), q_chunk = maximum(q);
  const float p_max = p_chunk > ps.max ? p_chunk : ps.max, q_max = q_chunk > qs.max ? q_chunk : qs.max;
  Vec p_sum = {}, q_sum = {}, weighted = {};
  each_vector(
      p.columns, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec lp = p.at(i, n), lq = q.at(i, n);
        const Vec e = first_lanes(exp(lp - p_max), n);
        p_sum += e;
        q_sum += first_lanes(exp(lq - q_max), n);
        weighted += e > 0.0f ? e * (lp - lq) : Vec{};
      });
  raise_kl_max(ps, p_max);
  raise_kl_max(qs, q_max);
  ps.sum += sum_lanes(p_sum);
  ps.weighted += sum_lanes(weighted);
  qs.sum += sum_lanes(q_sum);
}

template <typename Body>
PRUDENT_VEC void each_token(const LogitsChunk& chunk, const Body& body) {
  parallel_for(chunk.tokens, 1 + 16384 / chunk.columns, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(t);
  });
}

}  // namespace

void logprob_accumulate(const LogprobAccumulate& args) {
  each_token(args.chunk,
             [&](int64_t t) { args.chunk.bf16 ? accumulate_token<Bf16>(args, t) : accumulate_token<float>(args, t); });
}

void logprob_gradient(const LogprobGradient& args) {
  each_token(args.chunk,
             [&](int64_t t) { args.chunk.bf16 ? gradient_of_token<Bf16>(args, t) : gradient_of_token<float>(args, t); });
}

void kl_accumulate(const KlAccumulate& args) {
  each_token(args.p, [&](int64_t t) { args.p.bf16 ? kl_of_token<Bf16>(args, t) : kl_of_token<float>(args, t); });
}

void logprob_finish(const LogprobFinish& args) {
  for (int64_t t = 0; t < args.tokens; ++t) finish_token(args, t);
}

void kl_finish(const KlFinish& args) {
  for (int64_t t = 0; t < args.tokens; ++t) finish_kl_token(args, t);
}

}  // namespace prudent::kernels::PRUDENT_ISA
