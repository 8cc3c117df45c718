#include "kernels/common/isa_parallel.h"
#include "kernels/multi_head/multi_head_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kColumns = 256;  // of one task of the gradient: tasks share no output, rows are added in order

template <typename H, typename W>
void forward(const MultiHeadForward& args) {
  parallel_for(args.rows, 1 + 65536 / (args.size * args.heads), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const H* hidden = static_cast<const H*>(args.hidden) + args.index[r] * args.size;
      for (int64_t n = 0; n < args.heads; ++n) {
        args.scores[r * args.heads + n] = dot(hidden, static_cast<const W*>(args.weight) + n * args.size, args.size);
      }
    }
  });
}

template <typename H, typename W>
void add_row(const MultiHeadBackward& args, int64_t row, int64_t first, int64_t columns) {
  const int64_t token = args.index[row];
  const H* hidden = static_cast<const H*>(args.hidden) + token * args.size + first;
  for (int64_t n = 0; n < args.heads; ++n) {
    const float g = args.grad_scores[row * args.heads + n];
    const W* weight = static_cast<const W*>(args.weight) + n * args.size + first;
    if (args.grad_hidden != nullptr) {
      float* to = args.grad_hidden + token * args.size + first;
      each_vector(columns, [&](int64_t j, int64_t k) { store_at(to + j, load_at(to + j, k) + g * load_at(weight + j, k), k); });
    }
    if (args.grad_weight != nullptr) {
      float* to = args.grad_weight + n * args.size + first;
      each_vector(columns, [&](int64_t j, int64_t k) { store_at(to + j, load_at(to + j, k) + g * load_at(hidden + j, k), k); });
    }
  }
}

template <typename H, typename W>
void backward(const MultiHeadBackward& args) {
  const int64_t blocks = (args.size + kColumns - 1) / kColumns;
  parallel_for(blocks, 1 + 65536 / (args.rows * args.heads * kColumns + 1), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kColumns, columns = min_of(kColumns, args.size - first);
      if (args.grad_weight != nullptr) {
        for (int64_t n = 0; n < args.heads; ++n) {
          fill_zero(args.grad_weight + n * args.size + first, columns);
        }
      }
      for (int64_t r = 0; r < args.rows; ++r) add_row<H, W>(args, r, first, columns);
    }
  });
}

}  // namespace

void multi_head_forward(const MultiHeadForward& args) {
  if (args.hidden_bf16) {
    args.weight_bf16 ? forward<Bf16, Bf16>(args) : forward<Bf16, float>(args);
  } else {
    args.weight_bf16 ? forward<float, Bf16>(args) : forward<float, float>(args);
  }
}

void multi_head_backward(const MultiHeadBackward& args) {
  if (args.hidden_bf16) {
    args.weight_bf16 ? backward<Bf16, Bf16>(args) : backward<Bf16, float>(args);
  } else {
    args.weight_bf16 ? backward<float, Bf16>(args) : backward<float, float>(args);
  }
}

}  // namespace prudent::kernels::PRUDENT_ISA
