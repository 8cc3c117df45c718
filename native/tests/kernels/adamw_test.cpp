#include "kernels/adamw/adamw.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::AdamwOptions;
using kernels::AdamwParameter;

std::vector<AdamwParameter> parameters(at::ScalarType dtype, at::ScalarType gradient_dtype, bool with_master) {
  std::vector<AdamwParameter> out;
  uint64_t seed = 10;
  for (const int64_t size : {1, 7, 16, 0, 8191, 8193, 33}) {
    AdamwParameter p;
    const at::Tensor value = normal({size}, ++seed);
    p.parameter = value.to(dtype).clone();
    p.gradient = normal({size}, ++seed).to(gradient_dtype);
    p.moment1 = normal({size}, ++seed, 0.1);
    p.moment2 = normal({size}, ++seed, 0.1).square();
    if (with_master) p.master = value.clone();
    p.weight_decay = size % 2 == 0 ? 0.0 : 0.1;
    out.push_back(p);
  }
  return out;
}

double worst(const std::vector<AdamwParameter>& a, const std::vector<AdamwParameter>& b) {
  double error = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max({error, error_of(a[i].parameter, b[i].parameter), error_of(a[i].moment1, b[i].moment1),
                      error_of(a[i].moment2, b[i].moment2)});
    if (a[i].master.defined()) error = std::max(error, error_of(a[i].master, b[i].master));
  }
  return error;
}

}  // namespace

TEST_CASE("adamw: parity over ten steps, all dtypes, empty and chunk-crossing parameters") {
  struct Kind {
    at::ScalarType dtype, gradient;
    bool master;
  };
  for (const Kind kind : {Kind{at::kFloat, at::kFloat, false},
                          {at::kBFloat16, at::kBFloat16, true},
                          {at::kBFloat16, at::kFloat, true},
                          {at::kBFloat16, at::kBFloat16, false},
                          {at::kFloat, at::kBFloat16, false}}) {
    CAPTURE(static_cast<int>(kind.dtype));
    CAPTURE(kind.master);
    auto ours = parameters(kind.dtype, kind.gradient, kind.master), theirs = parameters(kind.dtype, kind.gradient, kind.master);
    AdamwOptions options{.lr = 0.01, .gradient_scale = 0.7};
    for (options.step = 1; options.step <= 10; ++options.step) {
      kernels::adamw(ours, options);
      kernels::adamw_reference(theirs, options);
    }
    // bf16 parameters round the same number up and down now and then: one unit in the last place.
    const double tolerance = kind.dtype == at::kFloat ? kParityFp32 : kBf16Floor;
    CHECK(worst(ours, theirs) <= tolerance);
    if (kind.master) {
      for (size_t i = 0; i < ours.size(); ++i) CHECK(error_of(ours[i].master, theirs[i].master) <= kParityFp32);
    }
    options.lr = 0.5;
    kernels::adamw(ours, options);
    CHECK(worst(ours, theirs) > tolerance);
  }
}

TEST_CASE("adamw: the first step moves by lr against the sign of the gradient") {
  AdamwParameter p;
  p.parameter = normal({5}, 1);
  p.gradient = normal({5}, 2);
  p.moment1 = p.parameter * 0.0;
  p.moment2 = p.parameter * 0.0;
  const at::Tensor expected = p.parameter - 0.01 * p.gradient.sign();
  kernels::adamw({p}, {.lr = 0.01, .eps = 0.0});
  CHECK(error_of(p.parameter, expected) <= kParityFp32);
}

TEST_CASE("adamw: wrong arguments are named, and nothing is updated") {
  auto p = parameters(at::kFloat, at::kFloat, false);
  const at::Tensor before = p[0].parameter.clone();
  p[2].moment2 = normal({15}, 1);
  CHECK_THROWS_WITH_AS(kernels::adamw(p, {}), "parameters[2].moment2: expected shape [16], received Float [15] on cpu", Error);
  CHECK(p[0].parameter.equal(before));
  CHECK_THROWS_AS(kernels::adamw({}, {.step = 0}), Error);
}

}  // namespace prudent::tests
