#include "kernels/common/isa_parallel.h"
#include "kernels/embedding/embedding_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename G, typename S>
void add_row(const EmbeddingBackward& args, int64_t i) {
  const G* grad = static_cast<const G*>(args.grad_y);
  S* sum = static_cast<S*>(args.sums) + args.rows[i] * args.width;
  each_vector(
      args.width, [&](int64_t at, int64_t n) __attribute__((always_inline)) {
        Vec total = {};  // of these tokens alone: added to what is there the same as from a sum of its own
        for (int64_t t = args.starts[i]; t < args.starts[i + 1]; ++t) {
          total += load_at(grad + args.tokens[t] * args.width + at, n);
        }
        store_at(sum + at, load_at(sum + at, n) + total, n);
      });
}

}  // namespace

void embedding_backward(const EmbeddingBackward& args) {
  parallel_for(args.distinct, 1 + 16384 / args.width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (args.grad_bf16) {
        args.sums_bf16 ? add_row<Bf16, Bf16>(args, i) : add_row<Bf16, float>(args, i);
      } else {
        args.sums_bf16 ? add_row<float, Bf16>(args, i) : add_row<float, float>(args, i);
      }
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
