#include "kernels/matmul/int8_weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <limits>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "kernels/matmul/matmul.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
using kernels::Int8Weights;
using kernels::MatmulEpilogue;

constexpr std::tuple<int, int, int> kShapes[] = {{1, 1, 1},     {1, 50, 33},    {3, 16, 64},    {9, 17, 31},
                                                 {33, 32, 128}, {47, 129, 385}, {70, 96, 1601}, {600, 40, 65}};

double off_by(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  return ((a - e).abs().max() / e.abs().max().clamp_min(1e-30)).item<double>();
}

}  // namespace

TEST_CASE("int8 matmul: parity with its reference over odd shapes, layouts and dtypes") {
  for (const auto& [rows, columns, depth] : kShapes) {
    for (const bool transposed : {false, true}) {
      CAPTURE(rows);
      CAPTURE(columns);
      CAPTURE(depth);
      const at::Tensor left = normal({rows, depth}, 1);
      const at::Tensor right = transposed ? normal({columns, depth}, 2).t() : normal({depth, columns}, 2);
      const Int8Weights weights = kernels::quantise_weights(right), plain = kernels::quantise_weights(right, {}, true);
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
        const at::Tensor expected = kernels::matmul_int8_reference(left.to(dtype), plain);
        CHECK(off_by(kernels::matmul_int8(left.to(dtype), weights), expected) <=
              (dtype == at::kFloat ? kParityFp32 : kBf16Floor));
      }
    }
  }
}

TEST_CASE("int8 matmul: parity of bias, activation, residual and gate") {
  const at::Tensor left = normal({37, 70}, 1), right = normal({70, 50}, 2, 0.2), gate = normal({50, 70}, 3, 0.2).t();
  const at::Tensor bias = normal({50}, 4), gate_bias = normal({50}, 5), residual = normal({37, 100}, 6).narrow(1, 0, 50);
  const Int8Weights alone = kernels::quantise_weights(right), gated = kernels::quantise_weights(right, gate);
  const Int8Weights plain = kernels::quantise_weights(right, {}, true),
                    plain_gated = kernels::quantise_weights(right, gate, true);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto to = [&](const at::Tensor& x) { return x.to(dtype); };
    const double tolerance = dtype == at::kFloat ? kParityFp32 : 3 * kBf16Floor;  // bf16: the reference rounds after each step
    for (const MatmulEpilogue& epilogue : std::vector<MatmulEpilogue>{{.bias = to(bias)},
                                                                      {.residual = to(residual)},
                                                                      {.bias = to(bias), .residual = to(residual)},
                                                                      {.bias = to(bias), .activation = Activation::GeluTanh}}) {
      CHECK(off_by(kernels::matmul_int8(to(left), alone, epilogue), kernels::matmul_int8_reference(to(left), plain, epilogue)) <=
            tolerance);
    }
    for (const Activation activation : {Activation::GeluTanh, Activation::GeluExact, Activation::Silu}) {
      const MatmulEpilogue epilogue{.bias = to(bias), .activation = activation, .gate_bias = to(gate_bias)};
      CHECK(off_by(kernels::matmul_int8(to(left), gated, epilogue),
                   kernels::matmul_int8_reference(to(left), plain_gated, epilogue)) <= tolerance);
    }
  }
}

// Each operand is off by half a unit of 1/127 of its largest value at most: on average far less than that.
TEST_CASE("int8 matmul: near the product of the weights themselves") {
  const at::Tensor left = normal({64, 512}, 1), right = normal({512, 96}, 2);
  const at::Tensor exact = at::mm(left, right);
  const at::Tensor ours = kernels::matmul_int8(left, kernels::quantise_weights(right));
  const double off = ((ours - exact).norm() / exact.norm()).item<double>();
  CHECK(off < 0.015);
  CHECK(off > 1e-4);  // it is quantised
}

TEST_CASE("int8 matmul: a row's result depends neither on the other rows nor on their number") {
  const at::Tensor right = normal({300, 130}, 2), gate = normal({300, 130}, 3);
  const Int8Weights weights = kernels::quantise_weights(right, gate);
  const MatmulEpilogue epilogue{.activation = Activation::Silu};
  const at::Tensor left = normal({200, 300}, 1);
  const at::Tensor all = kernels::matmul_int8(left, weights, epilogue);
  const at::Tensor loud = at::cat({left.narrow(0, 7, 1), 1000 * left.narrow(0, 0, 40)});
  // To the bit where the engine does it; libtorch's activations round the end of a tensor in another way than its middle.
  const double tolerance = weights.packed.defined() ? 0 : kParityFp32;
  CHECK(off_by(kernels::matmul_int8(loud, weights, epilogue)[0], all[7]) <= tolerance);
  CHECK(off_by(kernels::matmul_int8(left.narrow(0, 190, 10), weights, epilogue), all.narrow(0, 190, 10)) <= tolerance);
}

TEST_CASE("int8 matmul: extreme rows and weights") {
  at::Tensor left = normal({6, 40}, 1);
  left[0].zero_();
  left[1].mul_(1e30);
  left[2].mul_(1e-36);
  left[3][5] = std::numeric_limits<float>::infinity();
  left[4][6] = std::numeric_limits<float>::quiet_NaN();
  at::Tensor right = normal({40, 33}, 2);
  right.select(1, 3).zero_();
  const at::Tensor ours = kernels::matmul_int8(left, kernels::quantise_weights(right));
  CHECK(ours[0].eq(0).all().item<bool>());
  CHECK(off_by(ours[1], at::mm(left, right)[1]) < 0.03);
  CHECK(ours[2].abs().max().item<float>() < 1e-30f);
  CHECK_FALSE(ours[3].narrow(0, 0, 3).isfinite().any().item<bool>());
  CHECK_FALSE(ours[4].narrow(0, 0, 3).isfinite().any().item<bool>());
  CHECK(off_by(ours[5], at::mm(left, right)[5]) < 0.03);
  CHECK(ours.select(1, 3).narrow(0, 0, 3).eq(0).all().item<bool>());
  CHECK(kernels::matmul_int8(at::empty({0, 40}), kernels::quantise_weights(right)).size(0) == 0);
}

TEST_CASE("int8 matmul: bad arguments are named") {
  const Int8Weights weights = kernels::quantise_weights(normal({40, 33}, 2));
  CHECK_THROWS_WITH_AS(kernels::matmul_int8(normal({2, 41}, 1), weights), doctest::Contains("left"), Error);
  CHECK_THROWS_WITH_AS(kernels::matmul_int8(normal({2, 40}, 1), {}), doctest::Contains("weights"), Error);
  CHECK_THROWS_WITH_AS(kernels::matmul_int8(normal({2, 40}, 1), weights, {.bias = normal({32}, 1)}), doctest::Contains("bias"),
                       Error);
  at::Tensor bad = normal({40, 33}, 2);
  bad[1][1] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(kernels::quantise_weights(bad), doctest::Contains("finite weights"), Error);
  CHECK_THROWS_WITH_AS(kernels::quantise_weights(at::zeros({65537, 1})), doctest::Contains("right"), Error);
}

}  // namespace prudent::tests
