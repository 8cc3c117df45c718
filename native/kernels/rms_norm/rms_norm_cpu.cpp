#include "kernels/common/isa_parallel.h"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename T>
void forward(const RmsNormForward& args) {
  const int64_t hidden = args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  const float offset = args.unit_offset ? 1.0f : 0.0f;
  parallel_for(args.tokens, 1 + 32768 / hidden, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const T* x = static_cast<const T*>(args.x) + t * hidden;
      T* y = static_cast<T*>(args.y) + t * hidden;
      const float rstd = 1.0f / __builtin_sqrtf(dot(x, x, hidden) / static_cast<float>(hidden) + args.eps);
      args.rstd[t] = rstd;
      if (args.unit_offset) {
        each_vector(hidden, [&](int64_t j, int64_t n) {
          store_at(y + j, load_at(x + j, n) * rstd * (load_at(weight + j, n) + offset), n);
        });
      } else {  // Llama rounds before the gain
        each_vector(hidden, [&](int64_t j, int64_t n) {
          store_at(y + j, round_to<T>(load_at(x + j, n) * rstd) * load_at(weight + j, n), n);
        });
      }
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
