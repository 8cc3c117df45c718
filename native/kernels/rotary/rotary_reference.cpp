#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "kernels/rotary/rotary.h"

namespace prudent::kernels {

// As transformers: the tables are rounded to x's dtype first.
at::Tensor rotary_reference(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(2) / 2;
  const at::Tensor c = cos.index_select(0, positions).to(x.scalar_type()).unsqueeze(1);  // [tokens, 1, head_dim / 2]
  const at::Tensor s = sin.index_select(0, positions).to(x.scalar_type()).unsqueeze(1);
  const at::Tensor first = x.narrow(2, 0, half), second = x.narrow(2, half, half);
  return at::cat({first * c - second * s, second * c + first * s}, 2);
}

}  // namespace prudent::kernels
