#include "kernels/common/each_pair.h"
#include "kernels/common/isa_parallel.h"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// Rows come from memory at the first look; the second finds them in the cache. So that arithmetic and memory do not wait for each
// other, each look at a row asks for a part of the next.
template <typename T>
PRUDENT_VEC float sum_of_squares(const T* x, int64_t hidden) {
  VecPair sum = {};
  each_pair(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_pair(x + j, hidden);
        const VecPair v = load_pair_at(x + j, n);
        add_to(sum, product(v, v));
      });
  return sum_pair(sum);
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
          hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
            fetch_pair<1>(y + j, hidden);
            store_pair_at(y + j, by_halves(gained, load_pair_at(x + j, n), load_pair_at(weight + j, n)), n);
          });
    }
  });
}

// One row of the gradient: where it lies, and what is summed over it.
template <typename T>
struct Row {
  const T *x, *grad_y;
  T* grad_x;
  float rstd;
  VecPair slopes = {};
};
template <typename T>
PRUDENT_VEC Row<T> row_at(const RmsNormBackward& args, int64_t t) {
  const int64_t at = t * args.hidden;
  return {static_cast<const T*>(args.x) + at, static_cast<const T*>(args.grad_y) + at, static_cast<T*>(args.grad_x) + at,
          args.rstd[t]};
}
template <typename T>
PRUDENT_VEC VecPair gain_at(const RmsNormBackward& args, int64_t j, int64_t n) {
  const VecPair weight = load_pair_at(static_cast<const T*>(args.weight) + j, n);
  const float offset = args.unit_offset ? 1.0f : 0.0f;
  return {weight.even + offset, weight.odd + offset};
}
template <typename T>
PRUDENT_VEC VecPair normalised_at(const Row<T>& row, int64_t j, int64_t n) {
  const VecPair x = load_pair_at(row.x + j, n);
  return {x.even * row.rstd, x.odd * row.rstd};
}

// The sums over some rows and over their columns. The columns' are loaded and stored once for all the rows.
template <typename T, typename... Rows>
PRUDENT_VEC void sum_rows(const RmsNormBackward& args, float* weight_sum, Rows&... rows) {
  const int64_t ahead = static_cast<int64_t>(sizeof...(rows)) * args.hidden;
  each_pair(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const VecPair gain = gain_at<T>(args, j, n);
        VecPair total = load_pair_at(weight_sum + j, n);
        const auto add = [&](Row<T> & row) __attribute__((always_inline)) {
          fetch_pair(row.x + j, ahead);
          fetch_pair(row.grad_y + j, ahead);
          const VecPair slope = product(load_pair_at(row.grad_y + j, n), normalised_at(row, j, n));
          add_to(row.slopes, product(slope, gain));
          add_to(total, slope);
        };
        (add(rows), ...);
        store_pair_at(weight_sum + j, total, n);
      });
}

template <typename T>
PRUDENT_VEC void finish_row(const RmsNormBackward& args, const Row<T>& row, int64_t ahead) {
  const float average = sum_pair(row.slopes) / static_cast<float>(args.hidden);
  const auto gradient = [&](Vec slope, Vec normalised) __attribute__((always_inline)) {
    return row.rstd * (slope - normalised * average);
  };
  each_pair(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_pair<1>(row.grad_x + j, ahead);
        const VecPair slope = product(load_pair_at(row.grad_y + j, n), gain_at<T>(args, j, n));
        store_pair_at(row.grad_x + j, by_halves(gradient, slope, normalised_at(row, j, n)), n);
      });
}

// The gradients of x of some tokens, begin to end; their share of the gradient of weight is in [hidden] sums.
template <typename T>
void backward_block(const RmsNormBackward& args, int64_t begin, int64_t end, float* weight_sum) {
  int64_t t = begin;
  for (; t + 2 <= end; t += 2) {
    Row<T> first = row_at<T>(args, t), second = row_at<T>(args, t + 1);
    sum_rows<T>(args, weight_sum, first, second);
    finish_row(args, first, 2 * args.hidden);
    finish_row(args, second, 2 * args.hidden);
  }
  if (t < end) {
    Row<T> last = row_at<T>(args, t);
    sum_rows<T>(args, weight_sum, last);
    finish_row(args, last, args.hidden);
  }
}

template <typename T>
void backward(const RmsNormBackward& args) {
  const int64_t hidden = args.hidden, blocks = (args.tokens + kRmsNormBlock - 1) / kRmsNormBlock;
  parallel_for(blocks, 1 + 512 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sum = args.partial + b * hidden;
      fill_zero(sum, hidden);
      backward_block<T>(args, b * kRmsNormBlock, min_of(args.tokens, (b + 1) * kRmsNormBlock), sum);
    }
  });
  each_pair(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        VecPair sum = {};
        for (int64_t b = 0; b < blocks; ++b) add_to(sum, load_pair_at(args.partial + b * hidden + j, n));
        store_pair_at(static_cast<T*>(args.grad_weight) + j, sum, n);
      });
}

}  // namespace

void rms_norm_forward(const RmsNormForward& args) { args.bf16 ? forward<Bf16>(args) : forward<float>(args); }
void rms_norm_backward(const RmsNormBackward& args) { args.bf16 ? backward<Bf16>(args) : backward<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
