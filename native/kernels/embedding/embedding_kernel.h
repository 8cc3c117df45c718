// What the CPU version of embedding's backward takes: raw pointers, row-major.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// sums[rows[i]] += grad_y[tokens[starts[i]]] + ... + grad_y[tokens[starts[i + 1] - 1]]
struct EmbeddingBackward {
  const void* grad_y;     // [tokens, width]
  const int64_t* tokens;  // [tokens] those of the first distinct row, then those of the second …
  const int64_t* rows;    // [distinct]
  const int64_t* starts;  // [distinct + 1]
  void* sums;             // [vocab, width]
  int64_t distinct, width;
  bool grad_bf16, sums_bf16;
};

PRUDENT_DECLARE_CPU_KERNEL(embedding_backward, EmbeddingBackward)

}  // namespace prudent::kernels
