#include "kernels/rotary/rotary.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

at::Tensor rotary(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin) {
  check_kernel_dtype(x, "x");
  check_dims(x, "x", 3, "[tokens, heads, head_dim]");
  PRUDENT_CHECK(x.size(2) % 2 == 0, "E_SHAPE", "x", "an even head_dim", describe(x));
  check_dtype(positions, "positions", at::kLong);
  check_shape(positions, "positions", {x.size(0)});
  check_dtype(cos, "cos", at::kFloat);
  check_dims(cos, "cos", 2, "[max_positions, head_dim / 2]");
  check_shape(cos, "cos", {cos.size(0), x.size(2) / 2});
  check_dtype(sin, "sin", at::kFloat);
  check_shape(sin, "sin", {cos.size(0), x.size(2) / 2});
  check_same_device(positions, "positions", x);
  check_same_device(cos, "cos", x);
  check_same_device(sin, "sin", x);
  check_range(positions, "positions", 0, cos.size(0) - 1);
  return rotary_reference(x, positions, cos, sin);
}

}  // namespace prudent::kernels
