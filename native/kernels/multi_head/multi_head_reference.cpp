#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>

#include "kernels/multi_head/multi_head.h"

namespace prudent::kernels {

at::Tensor multi_head_reference(const at::Tensor& hidden, const at::Tensor& index, const at::Tensor& weight) {
  const at::ScalarType compute = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::matmul(hidden.index_select(0, index).to(compute), weight.to(compute).t());
}

}  // namespace prudent::kernels
