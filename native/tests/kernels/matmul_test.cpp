#include "kernels/matmul/matmul.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <tuple>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
using kernels::MatmulEpilogue;

// [rows, columns], dense along its rows or along its columns.
at::Tensor operand(int64_t rows, int64_t columns, bool rows_dense, uint64_t seed) {
  return rows_dense ? normal({rows, columns}, seed) : normal({columns, rows}, seed).t();
}

// Against fp64, relative to what the sums are made of: |left| . |right|.
double product_error(const at::Tensor& ours, const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor l = left.to(at::kDouble), r = right.to(at::kDouble);
  return ((ours.to(at::kDouble) - at::mm(l, r)).abs() / at::mm(l.abs(), r.abs()).clamp_min(1e-30)).max().item<double>();
}

constexpr std::tuple<int, int, int> kShapes[] = {{1, 1, 1},    {1, 50, 33},    {3, 16, 32},   {16, 17, 31},
                                                 {33, 32, 64}, {47, 129, 385}, {70, 96, 769}, {600, 40, 65}};

}  // namespace

TEST_CASE("matmul: parity over odd shapes and every layout, fp32 as exact as fp32 products") {
  for (const auto& [rows, columns, depth] : kShapes) {
    for (const bool left_dense : {true, false}) {
      for (const bool right_dense : {true, false}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(depth);
        const at::Tensor left = operand(rows, depth, left_dense, 1), right = operand(depth, columns, right_dense, 2);
        const at::Tensor ours = kernels::matmul(left, right);
        CHECK(product_error(ours, left, right) <= kMatmulFp32);
        at::Tensor moved = ours.clone();
        moved.select(0, 0).select(0, 0).add_(1e-3 * depth);
        CHECK(product_error(moved, left, right) > kMatmulFp32);
        const at::Tensor left16 = left.to(at::kBFloat16), right16 = right.to(at::kBFloat16);
        CHECK(product_error(kernels::matmul(left16, right16), left16, right16) <= kBf16Floor);
        at::Tensor wide = at::empty({rows, columns});
        kernels::matmul_into(wide, left16, right16);
        CHECK(product_error(wide, left16, right16) <= (kernels::matmul_is_ours(left16) ? kMatmulFp32 : kBf16Floor));
      }
    }
  }
}

TEST_CASE("matmul: parity of bias, activation, residual and gate") {
  const at::Tensor left = normal({37, 70}, 1), right = normal({70, 50}, 2, 0.2), gate = normal({50, 70}, 3, 0.2).t();
  const at::Tensor bias = normal({50}, 4), gate_bias = normal({50}, 5), residual = normal({37, 100}, 6).narrow(1, 0, 50);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto to = [&](const at::Tensor& x) { return x.to(dtype); };
    std::vector<MatmulEpilogue> epilogues = {
        {.bias = to(bias)}, {.residual = to(residual)}, {.bias = to(bias), .residual = to(residual)}};
    for (const Activation activation : {Activation::GeluTanh, Activation::GeluExact, Activation::Silu}) {
      epilogues.push_back({.bias = to(bias), .residual = to(residual), .activation = activation});
      epilogues.push_back({.bias = to(bias), .activation = activation, .gate = to(gate), .gate_bias = to(gate_bias)});
    }
    for (MatmulEpilogue& epilogue : epilogues) {
      at::Tensor saved, saved_gate, reference_saved, reference_gate;
      epilogue.saved = &saved;
      epilogue.saved_gate = &saved_gate;
      const at::Tensor ours = kernels::matmul(to(left), to(right), epilogue);
      // The truth of the same numbers: bf16 operands, nothing rounded on the way.
      MatmulEpilogue exact = epilogue;
      for (at::Tensor* operand : {&exact.bias, &exact.residual, &exact.gate, &exact.gate_bias}) {
        if (operand->defined()) *operand = operand->to(at::kFloat);
      }
      exact.saved = &reference_saved;
      exact.saved_gate = &reference_gate;
      const at::Tensor reference = kernels::matmul_reference(to(left).to(at::kFloat), to(right).to(at::kFloat), exact);
      const double tolerance = dtype == at::kFloat ? kParityMatmulFp32 : 2 * kBf16Floor;
      CHECK(error_of(ours, reference) <= tolerance);
      CHECK(saved.defined() == reference_saved.defined());
      if (saved.defined()) CHECK(error_of(saved, reference_saved) <= tolerance);
      if (epilogue.gate.defined()) CHECK(error_of(saved_gate, reference_gate) <= tolerance);
      CHECK(error_of(ours + 0.1, reference) > tolerance);
    }
  }
}

TEST_CASE("matmul: a row's result does not depend on the rows beside it") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor left = normal({700, 800}, 1).to(dtype), right = normal({800, 90}, 2).to(dtype);
    if (!kernels::matmul_is_ours(left)) continue;
    const at::Tensor all = kernels::matmul(left, right);
    for (const auto& [first, count] : {std::pair(0, 1), {5, 3}, {511, 2}, {650, 50}}) {
      CHECK(kernels::matmul(left.narrow(0, first, count), right).equal(all.narrow(0, first, count)));
    }
  }
}

TEST_CASE("matmul: adds to what is there, into rows that lie apart") {
  at::Tensor sum = at::full({40, 64}, 2.0f);
  at::Tensor out = sum.narrow(1, 8, 33);
  const at::Tensor left = normal({40, 500}, 1), right = normal({500, 33}, 2);
  kernels::matmul_into(out, left, right, true);
  CHECK(error_of(out, at::mm(left, right) + 2.0) <= kParityMatmulFp32);
  CHECK(sum.narrow(1, 0, 8).eq(2.0).all().item<bool>());
  CHECK(sum.narrow(1, 41, 23).eq(2.0).all().item<bool>());
}

TEST_CASE("matmul: large and small values, what is not finite stays so") {
  at::Tensor left = normal({20, 64}, 1), right = normal({64, 20}, 2);
  left.select(0, 3).mul_(1e18);
  left.select(0, 4).mul_(1e-18);
  CHECK(product_error(kernels::matmul(left, right), left, right) <= kMatmulFp32);
  left.select(0, 5).select(0, 7).fill_(std::numeric_limits<double>::infinity());
  const at::Tensor ours = kernels::matmul(left, right);
  CHECK_FALSE(ours.select(0, 5).isfinite().any().item<bool>());
  CHECK(ours.narrow(0, 6, 14).isfinite().all().item<bool>());
}

TEST_CASE("matmul: nothing to sum over and nothing to write") {
  CHECK(kernels::matmul(at::zeros({3, 0}), at::zeros({0, 4})).eq(0.0).all().item<bool>());
  CHECK(kernels::matmul(at::zeros({0, 5}), at::zeros({5, 4})).size(0) == 0);
}

TEST_CASE("matmul: wrong arguments are named") {
  CHECK_THROWS_WITH_AS(kernels::matmul(normal({2, 3}, 1), normal({4, 2}, 1)),
                       "right: expected shape [3, 2], received Float [4, 2] on cpu", Error);
  CHECK_THROWS_AS(kernels::matmul(normal({2, 3}, 1), normal({3, 2}, 1), {.bias = normal({3}, 1)}), Error);
  CHECK_THROWS_AS(kernels::matmul(normal({2, 3}, 1), normal({3, 2}, 1), {.gate = normal({3, 2}, 1)}), Error);
}

}  // namespace prudent::tests
