#include "kernels/rms_norm/rms_norm.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset) {
  check_kernel_dtype(x, "x");
  check_dims(x, "x", 2, "[tokens, hidden]");
  check_same_dtype(weight, "weight", x);
  check_shape(weight, "weight", {x.size(1)});
  check_same_device(weight, "weight", x);
  return rms_norm_reference(x, weight, eps, unit_offset);
}

}  // namespace prudent::kernels
