#include "kernels/geglu/geglu.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  check_kernel_dtype(gate, "gate");
  check_dims(gate, "gate", 2, "[tokens, intermediate]");
  check_same_dtype(up, "up", gate);
  check_shape(up, "up", {gate.size(0), gate.size(1)});
  check_same_device(up, "up", gate);
  return geglu_reference(gate, up, activation);
}

}  // namespace prudent::kernels
