#include <ATen/TensorOperators.h>

#include "kernels/layer_norm/layer_norm.h"

namespace prudent::kernels {

at::Tensor layer_norm_reference(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  const at::ScalarType dtype = x.scalar_type();
  const at::ScalarType compute = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor xc = x.to(compute);
  const at::Tensor centred = xc - xc.mean(-1, true);
  const at::Tensor normalised = centred * (centred.square().mean(-1, true) + eps).rsqrt();
  return (normalised * weight.to(compute) + bias.to(compute)).to(dtype);
}

}  // namespace prudent::kernels
