#include "kernels/common/isa_parallel.h"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// step(j) for pairs of vectors, then rest(j, n) for what is left.
template <typename Step, typename Rest>
PRUDENT_VEC void each_pair(int64_t count, const Step& step, const Rest& rest) {
  const int64_t pairs = count / (2 * kWidth) * (2 * kWidth);
  for (int64_t j = 0; j < pairs; j += 2 * kWidth) step(j);
  each_vector(
      count - pairs, [&](int64_t j, int64_t n) __attribute__((always_inline)) { rest(pairs + j, n); });
}

template <typename T>
PRUDENT_VEC float sum_of_squares(const T* x, int64_t hidden) {
  Vec even = {}, odd = {};
  each_pair(
      hidden,
      [&](int64_t j) __attribute__((always_inline)) {
        fetch_ahead(x + j);
        const VecPair v = load_pair(x + j);
        even += v.even * v.even;
        odd += v.odd * v.odd;
      },
      [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const Vec v = load_at(x + j, n);
        even += v * v;
      });
  return sum_lanes(even + odd);
}

template <typename T>
void forward(const RmsNormForward& args) {
  const int64_t hidden = args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  const float offset = args.unit_offset ? 1.0f : 0.0f;
  const bool rounds = !args.unit_offset;  // Llama rounds before the gain
  parallel_for(args.tokens, 1 + 32768 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const T* x = static_cast<const T*>(args.x) + t * hidden;
      T* y = static_cast<T*>(args.y) + t * hidden;
      const float rstd = 1.0f / __builtin_sqrtf(sum_of_squares(x, hidden) / static_cast<float>(hidden) + args.eps);
      args.rstd[t] = rstd;
      const auto gained = [&](Vec v, Vec gain) __attribute__((always_inline)) {
        const Vec normalised = v * rstd;
        return (rounds ? round_to<T>(normalised) : normalised) * (gain + offset);
      };
      each_pair(
          hidden,
          [&](int64_t j) __attribute__((always_inline)) {
            fetch_ahead<1>(y + j);
            const VecPair v = load_pair(x + j), gain = load_pair(weight + j);
            store_pair(y + j, {gained(v.even, gain.even), gained(v.odd, gain.odd)});
          },
          [&](int64_t j, int64_t n)
              __attribute__((always_inline)) { store_at(y + j, gained(load_at(x + j, n), load_at(weight + j, n)), n); });
    }
  });
}

template <typename T>
void backward(const RmsNormBackward& args) {
  const int64_t hidden = args.hidden, blocks = (args.tokens + kRmsNormBlock - 1) / kRmsNormBlock;
  const T* weight = static_cast<const T*>(args.weight);
  const float offset = args.unit_offset ? 1.0f : 0.0f;
  parallel_for(blocks, 1 + 512 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* partial = args.partial + b * hidden;
      fill_zero(partial, hidden);
      for (int64_t t = b * kRmsNormBlock; t < min_of(args.tokens, (b + 1) * kRmsNormBlock); ++t) {
        const T* x = static_cast<const T*>(args.x) + t * hidden;
        const T* grad_y = static_cast<const T*>(args.grad_y) + t * hidden;
        T* grad_x = static_cast<T*>(args.grad_x) + t * hidden;
        const float rstd = args.rstd[t];
        Vec sum = {};
        each_vector(hidden, [&](int64_t j, int64_t n) {
          const Vec g = load_at(grad_y + j, n), normalised = load_at(x + j, n) * rstd;
          sum += g * (load_at(weight + j, n) + offset) * normalised;
          store_at(partial + j, load_at(partial + j, n) + g * normalised, n);
        });
        const float mean = sum_lanes(sum) / static_cast<float>(hidden);
        each_vector(hidden, [&](int64_t j, int64_t n) {
          const Vec g = load_at(grad_y + j, n) * (load_at(weight + j, n) + offset);
          store_at(grad_x + j, rstd * (g - load_at(x + j, n) * rstd * mean), n);
        });
      }
    }
  });
  each_vector(hidden, [&](int64_t j, int64_t n) {
    Vec sum = {};
    for (int64_t b = 0; b < blocks; ++b) sum += load_at(args.partial + b * hidden + j, n);
    store_at(static_cast<T*>(args.grad_weight) + j, sum, n);
  });
}

}  // namespace

void rms_norm_forward(const RmsNormForward& args) { args.bf16 ? forward<Bf16>(args) : forward<float>(args); }
void rms_norm_backward(const RmsNormBackward& args) { args.bf16 ? backward<Bf16>(args) : backward<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
