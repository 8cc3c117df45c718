#include "kernels/common/isa_parallel.h"
#include "kernels/layer_norm/layer_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename T>
float mean_of(const T* x, int64_t hidden) {
  Vec sum = {};
  each_vector(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) { sum += load_at(x + j, n); });
  return sum_lanes(sum) / static_cast<float>(hidden);
}

// Around the mean, in a second look at the row (which the first has brought into the cache): no cancellation.
template <typename T>
float variance_of(const T* x, int64_t hidden, float mean) {
  Vec sum = {};
  each_vector(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const Vec centred = first_lanes(load_at(x + j, n) - mean, n);
        sum += centred * centred;
      });
  return sum_lanes(sum) / static_cast<float>(hidden);
}

template <typename T>
void forward(const LayerNormForward& args) {
  const int64_t hidden = args.hidden;
  const T *weight = static_cast<const T*>(args.weight), *bias = static_cast<const T*>(args.bias);
  parallel_for(args.tokens, 1 + 32768 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const T* x = static_cast<const T*>(args.x) + t * hidden;
      T* y = static_cast<T*>(args.y) + t * hidden;
      const float mean = mean_of(x, hidden);
      const float rstd = 1.0f / __builtin_sqrtf(variance_of(x, hidden, mean) + args.eps);
      args.mean[t] = mean;
      args.rstd[t] = rstd;
      each_vector(
          hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
            store_at(y + j, (load_at(x + j, n) - mean) * rstd * load_at(weight + j, n) + load_at(bias + j, n), n);
          });
    }
  });
}

// The gradient of one token's x; its share of the gradients of weight and bias is added to [hidden] sums.
template <typename T>
void backward_row(const LayerNormBackward& args, int64_t t, float* weight_sum, float* bias_sum) {
  const int64_t hidden = args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  const T* x = static_cast<const T*>(args.x) + t * hidden;
  const T* grad_y = static_cast<const T*>(args.grad_y) + t * hidden;
  T* grad_x = static_cast<T*>(args.grad_x) + t * hidden;
  const float mean = args.mean[t], rstd = args.rstd[t];
  Vec sum = {}, sum_normalised = {};
  each_vector(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const Vec g = load_at(grad_y + j, n), normalised = first_lanes((load_at(x + j, n) - mean) * rstd, n);
        const Vec slope = g * load_at(weight + j, n);
        sum += slope;
        sum_normalised += slope * normalised;
        store_at(weight_sum + j, load_at(weight_sum + j, n) + g * normalised, n);
        store_at(bias_sum + j, load_at(bias_sum + j, n) + g, n);
      });
  const float average = sum_lanes(sum) / static_cast<float>(hidden);
  const float average_normalised = sum_lanes(sum_normalised) / static_cast<float>(hidden);
  each_vector(
      hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        const Vec slope = load_at(grad_y + j, n) * load_at(weight + j, n);
        const Vec normalised = (load_at(x + j, n) - mean) * rstd;
        store_at(grad_x + j, rstd * (slope - average - normalised * average_normalised), n);
      });
}

template <typename T>
void add_blocks(const LayerNormBackward& args, int64_t blocks, const float* partial, void* gradient) {
  T* out = static_cast<T*>(gradient);
  each_vector(
      args.hidden, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        Vec sum = {};
        for (int64_t b = 0; b < blocks; ++b) sum += load_at(partial + b * 2 * args.hidden + j, n);
        store_at(out + j, sum, n);
      });
}

template <typename T>
void backward(const LayerNormBackward& args) {
  const int64_t hidden = args.hidden, blocks = (args.tokens + kLayerNormBlock - 1) / kLayerNormBlock;
  parallel_for(blocks, 1 + 512 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sums = args.partial + b * 2 * hidden;
      fill_zero(sums, 2 * hidden);
      const int64_t last = min_of(args.tokens, (b + 1) * kLayerNormBlock);
      for (int64_t t = b * kLayerNormBlock; t < last; ++t) backward_row<T>(args, t, sums, sums + hidden);
    }
  });
  add_blocks<T>(args, blocks, args.partial, args.grad_weight);
  add_blocks<T>(args, blocks, args.partial + hidden, args.grad_bias);
}

}  // namespace

void layer_norm_forward(const LayerNormForward& args) { args.bf16 ? forward<Bf16>(args) : forward<float>(args); }
void layer_norm_backward(const LayerNormBackward& args) { args.bf16 ? backward<Bf16>(args) : backward<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
