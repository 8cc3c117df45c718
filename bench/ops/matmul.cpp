#include "matmul.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>

#include <algorithm>

#include "kernels/matmul/matmul.h"
#include "measure.h"
#include "op_case.h"

namespace prudent::bench {

double matmul_seconds(int64_t m, int64_t n, int64_t k, at::ScalarType dtype, const at::Device& device, double least_seconds) {
  const at::Tensor x = normal({m, k}, 1).to(device, dtype), weight = normal({n, k}, 2, 0.02).to(device, dtype);
  const double library = seconds_per_call([&] { at::linear(x, weight); }, device, least_seconds);
  const double own = seconds_per_call([&] { kernels::matmul(x, weight.t()); }, device, least_seconds);
  return std::min(library, own);
}

}  // namespace prudent::bench
