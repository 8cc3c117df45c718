#include "kernels/common/isa_parallel.h"
#include "kernels/geglu/geglu_kernel.h"
#include "kernels/geglu/geglu_vec.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kGrain = 8192;

template <GegluKind kKind>
PRUDENT_VEC Vec output(Vec gate, Vec up) {
  return activate<kKind>(gate).value * up;
}

struct Gradients {
  Vec gate, up;
};
template <GegluKind kKind>
PRUDENT_VEC Gradients gradients(Vec gate, Vec up, Vec grad_y) {
  const Activated<Vec> a = activate<kKind>(gate);
  return {grad_y * up * a.slope, grad_y * a.value};
}

// Two vectors a step, then what is left.
template <typename T, GegluKind kKind>
void forward(const GegluForward& args) {
  parallel_for(args.count, kGrain, [&](int64_t begin, int64_t end) {
    const T *gate = static_cast<const T*>(args.gate), *up = static_cast<const T*>(args.up);
    T* y = static_cast<T*>(args.y);
    int64_t i = begin;
    for (; i + 2 * kWidth <= end; i += 2 * kWidth) {
      fetch_ahead(gate + i);
      fetch_ahead(up + i);
      fetch_ahead<1>(y + i);
      const VecPair g = load_pair(gate + i), u = load_pair(up + i);
      store_pair(y + i, {output<kKind>(g.even, u.even), output<kKind>(g.odd, u.odd)});
    }
    each_vector(
        end - i, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
          store_at(y + i + at, output<kKind>(load_at(gate + i + at, n), load_at(up + i + at, n)), n);
        });
  });
}

template <typename T, GegluKind kKind>
void backward(const GegluBackward& args) {
  parallel_for(args.count, kGrain, [&](int64_t begin, int64_t end) {
    const T *gate = static_cast<const T*>(args.gate), *up = static_cast<const T*>(args.up);
    const T* grad_y = static_cast<const T*>(args.grad_y);
    T *grad_gate = static_cast<T*>(args.grad_gate), *grad_up = static_cast<T*>(args.grad_up);
    int64_t i = begin;
    for (; i + 2 * kWidth <= end; i += 2 * kWidth) {
      fetch_ahead(gate + i);
      fetch_ahead(up + i);
      fetch_ahead(grad_y + i);
      fetch_ahead<1>(grad_gate + i);
      fetch_ahead<1>(grad_up + i);
      const VecPair g = load_pair(gate + i), u = load_pair(up + i), grad = load_pair(grad_y + i);
      const Gradients even = gradients<kKind>(g.even, u.even, grad.even), odd = gradients<kKind>(g.odd, u.odd, grad.odd);
      store_pair(grad_gate + i, {even.gate, odd.gate});
      store_pair(grad_up + i, {even.up, odd.up});
    }
    each_vector(
        end - i, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
          const Gradients out = gradients<kKind>(load_at(gate + i + at, n), load_at(up + i + at, n), load_at(grad_y + i + at, n));
          store_at(grad_gate + i + at, out.gate, n);
          store_at(grad_up + i + at, out.up, n);
        });
  });
}

template <typename T>
void forward_of(const GegluForward& args) {
  switch (args.kind) {
    case GegluKind::GeluTanh:
      return forward<T, GegluKind::GeluTanh>(args);
    case GegluKind::GeluExact:
      return forward<T, GegluKind::GeluExact>(args);
    case GegluKind::Silu:
      return forward<T, GegluKind::Silu>(args);
  }
}

template <typename T>
void backward_of(const GegluBackward& args) {
  switch (args.kind) {
    case GegluKind::GeluTanh:
      return backward<T, GegluKind::GeluTanh>(args);
    case GegluKind::GeluExact:
      return backward<T, GegluKind::GeluExact>(args);
    case GegluKind::Silu:
      return backward<T, GegluKind::Silu>(args);
  }
}

}  // namespace

void geglu_forward(const GegluForward& args) { args.bf16 ? forward_of<Bf16>(args) : forward_of<float>(args); }
void geglu_backward(const GegluBackward& args) { args.bf16 ? backward_of<Bf16>(args) : backward_of<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
