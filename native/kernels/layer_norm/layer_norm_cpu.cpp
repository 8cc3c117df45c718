#include "kernels/common/each_pair.h"
#include "kernels/common/isa_parallel.h"
#include "kernels/layer_norm/layer_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// Rows come from memory at one look, the first; the others find them in the cache. So that arithmetic and memory do not wait for
// each other, each look at a row asks for a part of the next.
template <typename T>
PRUDENT_VEC float mean_of(const T* x, int64_t hidden) {
  VecPair sum = {};
  each_pair(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_pair(x + j, hidden);
        add_to(sum, load_pair_at(x + j, n));
      });
  return sum_pair(sum) / static_cast<float>(hidden);
}

// Around the mean, in a second look at the row: no cancellation.
template <typename T>
PRUDENT_VEC float variance_of(const T* x, const T* y, int64_t hidden, float mean) {
  VecPair sum = {};
  each_pair(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_pair<1>(y + j, hidden);
        const auto centre = [=](Vec v) __attribute__((always_inline)) { return v - mean; };
        const VecPair centred = first_of_pair(by_halves(centre, load_pair_at(x + j, n)), n);
        add_to(sum, product(centred, centred));
      });
  return sum_pair(sum) / static_cast<float>(hidden);
}

template <typename T>
PRUDENT_VEC void forward_row(const LayerNormForward& args, int64_t t) {
  const int64_t hidden = args.hidden;
  const T *weight = static_cast<const T*>(args.weight), *bias = static_cast<const T*>(args.bias);
  const T* x = static_cast<const T*>(args.x) + t * hidden;
  T* y = static_cast<T*>(args.y) + t * hidden;
  const float mean = mean_of(x, hidden);
  const float rstd = 1.0f / __builtin_sqrtf(variance_of(x, y, hidden, mean) + args.eps);
  args.mean[t] = mean;
  args.rstd[t] = rstd;
  const auto scaled = [=](Vec v, Vec gain, Vec shift) __attribute__((always_inline)) { return (v - mean) * rstd * gain + shift; };
  each_pair(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const VecPair v = load_pair_at(x + j, n), gain = load_pair_at(weight + j, n), shift = load_pair_at(bias + j, n);
        store_pair_at(y + j, by_halves(scaled, v, gain, shift), n);
      });
}

template <typename T>
void forward(const LayerNormForward& args) {
  parallel_for(args.tokens, 1 + 32768 / args.hidden, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) forward_row<T>(args, t);
  });
}

// One row of the gradient: where it lies, and what is summed over it.
template <typename T>
struct Row {
  const T *x, *grad_y;
  T* grad_x;
  float mean, rstd;
  VecPair slopes = {}, normalised_slopes = {};
};
template <typename T>
PRUDENT_VEC Row<T> row_at(const LayerNormBackward& args, int64_t t) {
  const int64_t at = t * args.hidden;
  return {static_cast<const T*>(args.x) + at, static_cast<const T*>(args.grad_y) + at, static_cast<T*>(args.grad_x) + at,
          args.mean[t], args.rstd[t]};
}
template <typename T>
PRUDENT_VEC VecPair normalised_at(const Row<T>& row, int64_t j, int64_t n) {
  const VecPair x = load_pair_at(row.x + j, n);
  return {(x.even - row.mean) * row.rstd, (x.odd - row.mean) * row.rstd};
}

// The sums over some rows and over their columns. The columns' are loaded and stored once for all the rows.
template <typename T, typename... Rows>
PRUDENT_VEC void sum_rows(const LayerNormBackward& args, float* weight_sum, float* bias_sum, Rows&... rows) {
  const int64_t ahead = static_cast<int64_t>(sizeof...(rows)) * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  each_pair(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const VecPair gain = load_pair_at(weight + j, n);
        VecPair weight_total = load_pair_at(weight_sum + j, n), bias_total = load_pair_at(bias_sum + j, n);
        const auto add = [&](Row<T> & row) __attribute__((always_inline)) {
          fetch_pair(row.x + j, ahead);
          fetch_pair(row.grad_y + j, ahead);
          const VecPair g = load_pair_at(row.grad_y + j, n), normalised = normalised_at(row, j, n), slope = product(g, gain);
          add_to(row.slopes, slope);
          add_to(row.normalised_slopes, product(slope, normalised));
          add_to(weight_total, product(g, normalised));
          add_to(bias_total, g);
        };
        (add(rows), ...);
        store_pair_at(weight_sum + j, weight_total, n);
        store_pair_at(bias_sum + j, bias_total, n);
      });
}

template <typename T>
PRUDENT_VEC void finish_row(const LayerNormBackward& args, const Row<T>& row, int64_t ahead) {
  const float average = sum_pair(row.slopes) / static_cast<float>(args.hidden);
  const float average_normalised = sum_pair(row.normalised_slopes) / static_cast<float>(args.hidden);
  const T* weight = static_cast<const T*>(args.weight);
  const auto gradient = [&](Vec slope, Vec normalised) __attribute__((always_inline)) {
    return row.rstd * (slope - average - normalised * average_normalised);
  };
  each_pair(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_pair<1>(row.grad_x + j, ahead);
        const VecPair slope = product(load_pair_at(row.grad_y + j, n), load_pair_at(weight + j, n));
        store_pair_at(row.grad_x + j, by_halves(gradient, slope, normalised_at(row, j, n)), n);
      });
}

// The gradients of x of some tokens, begin to end; their share of the gradients of weight and bias is in [hidden] sums.
template <typename T>
void backward_block(const LayerNormBackward& args, int64_t begin, int64_t end, float* weight_sum, float* bias_sum) {
  int64_t t = begin;
  for (; t + 2 <= end; t += 2) {
    Row<T> first = row_at<T>(args, t), second = row_at<T>(args, t + 1);
    sum_rows<T>(args, weight_sum, bias_sum, first, second);
    finish_row(args, first, 2 * args.hidden);
    finish_row(args, second, 2 * args.hidden);
  }
  if (t < end) {
    Row<T> last = row_at<T>(args, t);
    sum_rows<T>(args, weight_sum, bias_sum, last);
    finish_row(args, last, args.hidden);
  }
}

template <typename T>
void add_blocks(const LayerNormBackward& args, int64_t blocks, const float* partial, void* gradient) {
  T* out = static_cast<T*>(gradient);
  each_pair(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        VecPair sum = {};
        for (int64_t b = 0; b < blocks; ++b) add_to(sum, load_pair_at(partial + b * 2 * args.hidden + j, n));
        store_pair_at(out + j, sum, n);
      });
}

template <typename T>
void backward(const LayerNormBackward& args) {
  const int64_t hidden = args.hidden, blocks = (args.tokens + kLayerNormBlock - 1) / kLayerNormBlock;
  parallel_for(blocks, 1 + 512 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sums = args.partial + b * 2 * hidden;
      fill_zero(sums, 2 * hidden);
      backward_block<T>(args, b * kLayerNormBlock, min_of(args.tokens, (b + 1) * kLayerNormBlock), sums, sums + hidden);
    }
  });
  add_blocks<T>(args, blocks, args.partial, args.grad_weight);
  add_blocks<T>(args, blocks, args.partial + hidden, args.grad_bias);
}

}  // namespace

void layer_norm_forward(const LayerNormForward& args) { args.bf16 ? forward<Bf16>(args) : forward<float>(args); }
void layer_norm_backward(const LayerNormBackward& args) { args.bf16 ? backward<Bf16>(args) : backward<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
