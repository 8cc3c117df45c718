#include "kernels/common/isa_parallel.h"
#include "kernels/geglu/geglu_kernel.h"
#include "kernels/geglu/geglu_vec.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kGrain = 8192;

template <typename T, GegluKind kKind>
void forward(const GegluForward& args) {
  parallel_for(args.count, kGrain, [&](int64_t begin, int64_t end) {
    const T *gate = static_cast<const T*>(args.gate) + begin, *up = static_cast<const T*>(args.up) + begin;
    T* y = static_cast<T*>(args.y) + begin;
    each_vector(end - begin, [&](int64_t i, int64_t n) {
      store_at(y + i, activate<kKind>(load_at(gate + i, n)).value * load_at(up + i, n), n);
    });
  });
}

template <typename T, GegluKind kKind>
void backward(const GegluBackward& args) {
  parallel_for(args.count, kGrain, [&](int64_t begin, int64_t end) {
    const T *gate = static_cast<const T*>(args.gate) + begin, *up = static_cast<const T*>(args.up) + begin;
    const T* grad_y = static_cast<const T*>(args.grad_y) + begin;
    T *grad_gate = static_cast<T*>(args.grad_gate) + begin, *grad_up = static_cast<T*>(args.grad_up) + begin;
    each_vector(end - begin, [&](int64_t i, int64_t n) {
      const Activated<Vec> a = activate<kKind>(load_at(gate + i, n));
      const Vec g = load_at(grad_y + i, n);
      store_at(grad_gate + i, g * load_at(up + i, n) * a.slope, n);
      store_at(grad_up + i, g * a.value, n);
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
