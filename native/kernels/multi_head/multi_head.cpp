#include "kernels/multi_head/multi_head.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

at::Tensor multi_head(const at::Tensor& hidden, const at::Tensor& index, const at::Tensor& weight) {
  check_kernel_dtype(hidden, "hidden");
  check_dims(hidden, "hidden", 2, "[tokens, hidden]");
  check_dtype(index, "index", at::kLong);
  check_dims(index, "index", 1, "[rows]");
  check_kernel_dtype(weight, "weight");
  check_dims(weight, "weight", 2, "[heads, hidden]");
  check_shape(weight, "weight", {weight.size(0), hidden.size(1)});
  check_same_device(index, "index", hidden);
  check_same_device(weight, "weight", hidden);
  check_range(index, "index", 0, hidden.size(0) - 1);
  return multi_head_reference(hidden, index, weight);
}

}  // namespace prudent::kernels
