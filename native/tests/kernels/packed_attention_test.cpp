#include "kernels/packed_attention/packed_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

at::Tensor int32(const std::vector<int32_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kInt)); }
Function op(const at::Tensor& cu, double scale) {
  return [=](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], cu, scale)}; };
}
Function reference(const at::Tensor& cu, double scale) {
  return [=](const Tensors& in) { return Tensors{kernels::packed_attention_reference(in[0], in[1], in[2], cu, scale)}; };
}
Tensors inputs(int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim) {
  return {normal({tokens, heads, dim}, 1), normal({tokens, kv_heads, dim}, 2), normal({tokens, kv_heads, dim}, 3)};
}

}  // namespace

TEST_CASE("packed_attention: parity and gradient over odd shapes") {
  struct Shape {
    std::vector<int32_t> cu;
    int64_t heads, kv_heads, dim;
  };
  const std::vector<Shape> shapes = {{{0, 2}, 1, 1, 8},         {{0, 1, 4, 5}, 2, 2, 6},  {{0, 13, 29, 29, 40}, 4, 2, 32},
                                     {{0, 100, 117}, 4, 1, 20}, {{0, 33, 97}, 2, 1, 256}, {{0, 31, 63, 64}, 3, 3, 16},
                                     {{0, 64, 161}, 6, 2, 64}};
  for (const Shape& s : shapes) {
    CAPTURE(s.cu.back());
    CAPTURE(s.heads);
    CAPTURE(s.dim);
    const at::Tensor cu = int32(s.cu);
    const double scale = 1.0 / std::sqrt(static_cast<double>(s.dim));
    check_parity(op(cu, scale), reference(cu, scale), inputs(s.cu.back(), s.heads, s.kv_heads, s.dim), kParityMatmulFp32);
    check_parity_bf16(op(cu, scale), reference(cu, scale), inputs(s.cu.back(), s.heads, s.kv_heads, s.dim));
  }
}

TEST_CASE("packed_attention: gradient of the reference against differences") {
  check_differences(reference(int32({0, 1, 5, 8}), 0.5), inputs(8, 2, 1, 4));
}

TEST_CASE("packed_attention: a row of one token returns its value") {
  const Tensors in = inputs(1, 2, 1, 5);
  const at::Tensor out = op(int32({0, 1}), 1.0)(in)[0];
  CHECK(out.select(1, 0).equal(in[2].select(1, 0)));
  CHECK(out.select(1, 1).equal(in[2].select(1, 0)));
}

TEST_CASE("packed_attention: rows do not see each other, nor tokens their future") {
  const Tensors in = inputs(20, 2, 2, 16);
  const at::Tensor cu = int32({0, 9, 20}), before = op(cu, 0.25)(in)[0];
  Tensors moved = {in[0].clone(), in[1].clone(), in[2].clone()};
  for (at::Tensor& t : moved) t.select(0, 14).add_(1.0);
  const at::Tensor after = op(cu, 0.25)(moved)[0];
  CHECK(after.narrow(0, 0, 14).equal(before.narrow(0, 0, 14)));
  CHECK(!after.narrow(0, 14, 1).equal(before.narrow(0, 14, 1)));
}

TEST_CASE("packed_attention: large scores do not overflow") {
  const Tensors in = {normal({6, 1, 8}, 1, 60.0), normal({6, 1, 8}, 2, 60.0), normal({6, 1, 8}, 3)};
  const at::Tensor cu = int32({0, 6});
  CHECK(error_of(op(cu, 1.0)(in)[0], reference(cu, 1.0)(in)[0]) <= 1e-3);
}

TEST_CASE("packed_attention: slices of a fused projection keep their strides") {
  const at::Tensor fused = normal({15, 3 * 16}, 4), cu = int32({0, 4, 15});
  Tensors in;
  for (int i = 0; i < 3; ++i) in.push_back(fused.narrow(1, 16 * i, 16).view({15, 2, 8}));
  CHECK(error_of(op(cu, 0.3)(in)[0], reference(cu, 0.3)(in)[0]) <= kParityMatmulFp32);
}

TEST_CASE("packed_attention: parity of the cached step with the packed pass and the reference") {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [heads, kv_heads, dim] : {std::tuple(4, 2, 32), {3, 1, 20}, {2, 2, 256}}) {
      CAPTURE(dim);
      const at::Tensor k = normal({3, 12, kv_heads, dim}, 1).to(dtype), v = normal({3, 12, kv_heads, dim}, 2).to(dtype);
      const at::Tensor q = normal({3, heads, dim}, 3).to(dtype), lengths = int32({1, 12, 7});
      const at::Tensor ours = kernels::cached_attention(q, k, v, lengths, 0.2);
      const at::Tensor truth =
          kernels::cached_attention_reference(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), lengths, 0.2);
      const double tolerance = dtype == at::kFloat ? kParityMatmulFp32 : kBf16Floor;
      CHECK(error_of(ours, truth) <= tolerance);
      CHECK(error_of(kernels::cached_attention(q + 0.5, k, v, lengths, 0.2), truth) > tolerance);
      // A cache with more rows and positions than are in use.
      const at::Tensor big_k = at::cat({k, k}, 0), big_v = at::cat({v, v}, 0);
      CHECK(kernels::cached_attention(q, big_k.narrow(0, 0, 3), big_v.narrow(0, 0, 3), lengths, 0.2).equal(ours));
    }
  }
}

TEST_CASE("packed_attention: wrong arguments are named") {
  const Tensors in = inputs(6, 3, 1, 8);
  CHECK_THROWS_WITH_AS(op(int32({0, 5}), 1.0)(in), "cu_seqlens: expected 0 first and 6 last, received 0 and 5", Error);
  CHECK_THROWS_WITH_AS(op(int32({0, 4, 3, 6}), 1.0)(in), "cu_seqlens[2]: expected 4 or more, received 3", Error);
  CHECK_THROWS_AS(op(int32({0, 6}), 1.0)(inputs(6, 3, 2, 8)), Error);
}

}  // namespace prudent::tests
