// Rates of matrix products: the limit that whole jobs are measured against.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace prudent::bench {

// Seconds of [m, k] x [n, k]^T -> [m, n], the faster of libtorch's product and ours.
double matmul_seconds(int64_t m, int64_t n, int64_t k, at::ScalarType dtype, const at::Device& device, double least_seconds);

}  // namespace prudent::bench
