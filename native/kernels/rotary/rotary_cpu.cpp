#include "kernels/common/isa_parallel.h"
#include "kernels/rotary/rotary_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename T>
void rotate(const RotaryArgs& args) {
  const int64_t dim = args.head_dim, half = dim / 2, width = args.heads * dim;
  parallel_for(args.tokens, 1 + 32768 / width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* cos = args.cos + args.positions[t] * half;
      const float* sin = args.sin + args.positions[t] * half;
      for (int64_t h = 0; h < args.heads; ++h) {
        const T* x = static_cast<const T*>(args.x) + t * args.x_stride + h * dim;
        T* y = static_cast<T*>(args.y) + t * width + h * dim;
        each_vector(half, [&](int64_t j, int64_t n) {
          const Vec first = load_at(x + j, n), second = load_at(x + half + j, n);
          const Vec c = load_at(cos + j, n), s = load_at(sin + j, n) * args.sign;
          store_at(y + j, first * c - second * s, n);
          store_at(y + half + j, second * c + first * s, n);
        });
      }
    }
  });
}

}  // namespace

void rotary_rotate(const RotaryArgs& args) { args.bf16 ? rotate<Bf16>(args) : rotate<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
