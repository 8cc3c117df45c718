#include "kernels/global_norm/global_norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

Tensors list(at::ScalarType dtype) {
  Tensors out;
  uint64_t seed = 0;
  for (const int64_t size : {1, 0, 17, 8191, 8192, 8193, 100003}) out.push_back(normal({size}, ++seed, 3.0).to(dtype));
  out.push_back(normal({5, 7, 3}, 99));
  return out;
}

double relative(double a, double b) { return std::abs(a - b) / b; }

}  // namespace

TEST_CASE("global_norm: parity over lists of odd sizes and both dtypes") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Tensors tensors = list(dtype);
    const double truth = kernels::global_norm_reference(tensors);
    CHECK(relative(kernels::global_norm(tensors), truth) <= kParityFp32);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].numel() == 0) continue;
      Tensors moved = tensors;
      moved[i] = tensors[i].clone();
      moved[i].view({-1})[tensors[i].numel() - 1].fill_(50.0);
      INFO("twin: the last item of tensor ", i, " moved");
      CHECK(relative(kernels::global_norm(moved), truth) > kParityFp32);
    }
  }
  CHECK(kernels::global_norm({}) == 0.0);
}

TEST_CASE("global_norm: the number of threads changes no bit") {
  const Tensors tensors = list(at::kFloat);
  const int threads = at::get_num_threads();
  const double many = kernels::global_norm(tensors);
  at::set_num_threads(1);
  CHECK(kernels::global_norm(tensors) == many);
  at::set_num_threads(threads);
}

TEST_CASE("global_norm: what is not finite shows") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Tensors tensors = list(at::kFloat);
    tensors[5][8192].fill_(bad);
    CHECK_FALSE(std::isfinite(kernels::global_norm(tensors)));
  }
}

TEST_CASE("global_norm: wrong arguments are named") {
  CHECK_THROWS_AS(kernels::global_norm({normal({4}, 1), normal({4, 4}, 1).t()}), Error);
  CHECK_THROWS_AS(kernels::global_norm({normal({4}, 1).to(at::kDouble)}), Error);
  CHECK_THROWS_AS(kernels::global_norm({at::Tensor()}), Error);
}

}  // namespace prudent::tests
