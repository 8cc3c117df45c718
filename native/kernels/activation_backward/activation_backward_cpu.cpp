#include "kernels/activation_backward/activation_backward_kernel.h"
#include "kernels/common/each_pair.h"
#include "kernels/common/isa_parallel.h"
#include "kernels/geglu/geglu_vec.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// grad_u = grad_y * slope, and its share of the bias.
template <typename T, GegluKind kKind>
void row_with_activation(const ActivationBackwardArgs& args, int64_t t, float* sums) {
  const T *grad_y = static_cast<const T*>(args.grad_y) + t * args.size, *u = static_cast<const T*>(args.u) + t * args.size;
  T* grad_u = static_cast<T*>(args.grad_u) + t * args.size;
  const auto through = [](Vec grad, Vec x) __attribute__((always_inline)) { return grad * activate<kKind>(x).slope; };
  const auto as_stored = [](Vec v) __attribute__((always_inline)) { return round_to<T>(v); };
  each_pair(
      args.size, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_ahead(grad_y + j);
        fetch_ahead(u + j);
        fetch_ahead<1>(grad_u + j);
        const VecPair g = by_halves(through, load_pair_at(grad_y + j, n), load_pair_at(u + j, n));
        store_pair_at(grad_u + j, g, n);
        if (sums == nullptr) return;
        // The bias gets the sum of what was stored, as a sum over grad_u would.
        VecPair sum = load_pair_at(sums + j, n);
        add_to(sum, by_halves(as_stored, g));
        store_pair_at(sums + j, sum, n);
      });
}

template <typename T>
void row_alone(const ActivationBackwardArgs& args, int64_t t, float* sums) {
  const T* grad_y = static_cast<const T*>(args.grad_y) + t * args.size;
  each_pair(
      args.size, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        fetch_ahead(grad_y + j);
        VecPair sum = load_pair_at(sums + j, n);
        add_to(sum, load_pair_at(grad_y + j, n));
        store_pair_at(sums + j, sum, n);
      });
}

template <typename T, typename Row>
PRUDENT_VEC void run(const ActivationBackwardArgs& args, const Row& row) {
  const int64_t blocks = (args.tokens + kActivationBlock - 1) / kActivationBlock;
  parallel_for(blocks, 1 + 512 / args.size, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* sums = args.grad_bias == nullptr ? nullptr : args.partial + b * args.size;
      if (sums != nullptr) fill_zero(sums, args.size);
      for (int64_t t = b * kActivationBlock; t < min_of(args.tokens, (b + 1) * kActivationBlock); ++t) row(t, sums);
    }
  });
  if (args.grad_bias == nullptr) return;
  T* grad_bias = static_cast<T*>(args.grad_bias);
  each_pair(
      args.size, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
        VecPair sum = {};
        for (int64_t b = 0; b < blocks; ++b) add_to(sum, load_pair_at(args.partial + b * args.size + j, n));
        store_pair_at(grad_bias + j, sum, n);
      });
}

template <typename T, GegluKind kKind>
void run_activation(const ActivationBackwardArgs& args) {
  run<T>(args, [&](int64_t t, float* sums) { row_with_activation<T, kKind>(args, t, sums); });
}

template <typename T>
void run_of(const ActivationBackwardArgs& args) {
  if (args.u == nullptr) return run<T>(args, [&](int64_t t, float* sums) { row_alone<T>(args, t, sums); });
  switch (args.kind) {
    case GegluKind::GeluTanh:
      return run_activation<T, GegluKind::GeluTanh>(args);
    case GegluKind::GeluExact:
      return run_activation<T, GegluKind::GeluExact>(args);
    case GegluKind::Silu:
      return run_activation<T, GegluKind::Silu>(args);
  }
}

}  // namespace

void activation_backward_run(const ActivationBackwardArgs& args) { args.bf16 ? run_of<Bf16>(args) : run_of<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
