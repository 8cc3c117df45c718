#include <ATen/TensorOperators.h>

#include <cmath>

#include "kernels/global_norm/global_norm.h"

namespace prudent::kernels {

double global_norm_reference(const std::vector<at::Tensor>& tensors) {
  double sum = 0.0;
  for (const at::Tensor& tensor : tensors) sum += tensor.to(at::kDouble).square().sum().item<double>();
  return std::sqrt(sum);
}

}  // namespace prudent::kernels
