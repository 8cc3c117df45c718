#include "matmul.h"

#include <ATen/ops/linear.h>

#include "measure.h"
#include "op_case.h"

namespace prudent::bench {

double matmul_seconds(int64_t m, int64_t n, int64_t k, at::ScalarType dtype, const at::Device& device, double least_seconds) {
  const at::Tensor x = normal({m, k}, 1).to(device, dtype), weight = normal({n, k}, 2, 0.02).to(device, dtype);
  return seconds_per_call([&] { at::linear(x, weight); }, device, least_seconds);
}

}  // namespace prudent::bench
