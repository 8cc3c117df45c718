#include <ATen/TensorOperators.h>

#include "kernels/rms_norm/rms_norm.h"

namespace prudent::kernels {

at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset) {
  const at::ScalarType dtype = x.scalar_type();
  const at::ScalarType compute = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor xc = x.to(compute);
  const at::Tensor normalised = xc * (xc.square().mean(-1, true) + eps).rsqrt();
  if (unit_offset) return (normalised * (weight.to(compute) + 1.0)).to(dtype);
  return normalised.to(dtype) * weight;
}

}  // namespace prudent::kernels
