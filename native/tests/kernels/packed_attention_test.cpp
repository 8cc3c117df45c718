#include "kernels/packed_attention/packed_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "kernels/op_check.h"
#include "kernels/packed_attention/attention_rows.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::AttentionLayout;

at::Tensor int32(const std::vector<int32_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kInt)); }
at::Tensor int64(const std::vector<int64_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kLong)); }
Function op(const AttentionLayout& layout, double scale) {
  return [=](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], layout, scale)}; };
}
Function reference(const AttentionLayout& layout, double scale) {
  return [=](const Tensors& in) { return Tensors{kernels::packed_attention_reference(in[0], in[1], in[2], layout, scale)}; };
}
Tensors inputs(int64_t tokens, int64_t heads, int64_t kv_heads, int64_t dim, int64_t queries = -1) {
  return {normal({queries < 0 ? tokens : queries, heads, dim}, 1), normal({tokens, kv_heads, dim}, 2),
          normal({tokens, kv_heads, dim}, 3)};
}

// A prefix of 40 tokens that goes on in two ways of 25 and 9, the second of which forks into 3 and 34; a row of 12 by itself;
// and a prefix of 5 with three ends.
AttentionLayout forest() {
  return {int32({0, 40, 65, 74, 77, 111, 123, 128, 130, 131, 171}), int32({-1, 0, 0, 2, 2, -1, -1, 6, 6, 6})};
}
constexpr int64_t kForestTokens = 171;

}  // namespace

TEST_CASE("packed_attention: parity and gradient over odd shapes") {
  struct Shape {
    std::vector<int32_t> cu;
    int64_t heads, kv_heads, dim;
  };
  const std::vector<Shape> shapes = {
      {{0, 2}, 1, 1, 8},         {{0, 1, 4, 5}, 2, 2, 6},  {{0, 13, 29, 29, 40}, 4, 2, 32},
      {{0, 100, 117}, 4, 1, 20}, {{0, 33, 97}, 2, 1, 256}, {{0, 31, 63, 64}, 3, 3, 16},
      {{0, 64, 161}, 6, 2, 64},  {{0, 400}, 4, 1, 64},  // one long row: cut between threads, heads apart in the backward
      {{0, 150, 160}, 8, 2, 128}};
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

TEST_CASE("packed_attention: parity and gradient of shared prefixes and of chosen queries") {
  AttentionLayout ends = forest(), some = forest();
  ends.queries = int64({64, 76, 110, 122, 129, 130, 170});
  some.queries = int64({0, 1, 7, 39, 40, 60, 64, 65, 73, 110, 122, 124, 170});
  for (const AttentionLayout& layout : {forest(), ends, some}) {
    for (const auto& [heads, kv_heads, dim] : {std::tuple(2, 2, 16), {4, 1, 20}, {2, 1, 64}}) {
      CAPTURE(heads);
      const int64_t queries = layout.queries.defined() ? layout.queries.size(0) : kForestTokens;
      const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
      const Tensors in = inputs(kForestTokens, heads, kv_heads, dim, queries);
      check_parity(op(layout, scale), reference(layout, scale), in, kParityMatmulFp32);
      check_parity_bf16(op(layout, scale), reference(layout, scale), in);
    }
  }
  // Large enough for the heads of a tree to be tasks of their own.
  const AttentionLayout large(int32({0, 250, 300, 390}), int32({-1, 0, 0}));
  check_parity(op(large, 0.125), reference(large, 0.125), inputs(390, 8, 2, 64), kParityMatmulFp32);
}

// Not to the bit: a segment with a handful of queries is computed another way.
TEST_CASE("packed_attention: chosen queries are the same rows of all queries") {
  AttentionLayout layout = forest();
  const Tensors all = inputs(kForestTokens, 4, 2, 24);
  const at::Tensor chosen = int64({3, 39, 41, 64, 73, 75, 109, 110, 122, 129, 170}), full = op(layout, 0.2)(all)[0];
  layout.queries = chosen;
  const at::Tensor expected = full.index_select(0, chosen);
  CHECK(error_of(op(layout, 0.2)({all[0].index_select(0, chosen), all[1], all[2]})[0], expected) <= kParityMatmulFp32);
  CHECK(error_of(op(layout, 0.2)({all[0].index_select(0, chosen - 1), all[1], all[2]})[0], expected) > kParityMatmulFp32);
}

// What CUDA hands to libtorch's kernels for rows of different lengths.
TEST_CASE("packed_attention: as rows of queries with keys of their own it is the same") {
  AttentionLayout ends = forest(), some = forest();
  ends.queries = int64({64, 76, 110, 122, 129, 130, 170});
  some.queries = int64({0, 1, 7, 39, 40, 60, 64, 65, 73, 110, 122, 124, 170});
  const AttentionLayout plain(int32({0, 60, 60, kForestTokens}));
  for (const AttentionLayout& layout : {plain, forest(), ends, some}) {
    const kernels::AttentionRows rows(layout);
    CHECK(rows.keys_as_they_are() == !(layout.parents.defined() || layout.queries.defined()));
    const int64_t queries = layout.queries.defined() ? layout.queries.size(0) : kForestTokens;
    const Tensors in = inputs(kForestTokens, 4, 2, 24, queries);
    std::vector<at::Tensor> parts, moved;  // the twin: the last key in place of the first
    for (size_t r = 0; r + 1 < rows.query_bounds.size(); ++r) {
      const int64_t first = rows.query_bounds[r], count = rows.query_bounds[r + 1] - first;
      const int64_t key_count = rows.key_bounds[r + 1] - rows.key_bounds[r];
      const at::Tensor keys = int64({rows.keys.begin() + rows.key_bounds[r], rows.keys.begin() + rows.key_bounds[r + 1]});
      std::vector<int64_t> last;
      for (int64_t i = key_count - count; i < key_count; ++i) last.push_back(i);
      const AttentionLayout row(int32({0, static_cast<int32_t>(key_count)}), {}, int64(last));
      const auto with = [&](const at::Tensor& chosen) {
        return op(row, 0.2)({in[0].narrow(0, first, count), in[1].index_select(0, chosen), in[2].index_select(0, chosen)})[0];
      };
      parts.push_back(with(keys));
      moved.push_back(with(at::cat({keys.narrow(0, key_count - 1, 1), keys.narrow(0, 1, key_count - 1)})));
    }
    const at::Tensor expected = op(layout, 0.2)(in)[0];
    CHECK(error_of(at::cat(parts), expected) <= kParityMatmulFp32);
    CHECK(error_of(at::cat(moved), expected) > kParityMatmulFp32);
  }
}

TEST_CASE("packed_attention: a shared prefix is as good as one that each row has for itself") {
  // A prefix of 20 tokens with ends of 7 and 40, and the same as two whole rows.
  const AttentionLayout shared(int32({0, 20, 27, 67}), int32({-1, 0, 0})), apart(int32({0, 27, 87}));
  std::vector<int64_t> source;  // token of the shared layout at each token of the other
  for (int64_t t = 0; t < 27; ++t) source.push_back(t);
  for (int64_t t = 0; t < 60; ++t) source.push_back(t < 20 ? t : t + 7);
  const at::Tensor index = int64(source), own = int64([] {
                                            std::vector<int64_t> first;  // where the shared layout's tokens stand in the other
                                            for (int64_t t = 0; t < 27; ++t) first.push_back(t);
                                            for (int64_t t = 47; t < 87; ++t) first.push_back(t);
                                            return first;
                                          }());
  const auto unshared = [&](const Tensors& in) {
    const auto whole = [&](const at::Tensor& x) { return x.index_select(0, index); };
    return Tensors{op(apart, 0.3)({whole(in[0]), whole(in[1]), whole(in[2])})[0].index_select(0, own)};
  };
  check_parity(op(shared, 0.3), unshared, inputs(67, 4, 2, 16), kParityMatmulFp32);
  const Tensors in = inputs(67, 4, 2, 16);
  CHECK(op(shared, 0.3)(in)[0].equal(unshared(in)[0]));
}

TEST_CASE("packed_attention: gradient of the reference against differences") {
  check_differences(reference(int32({0, 1, 5, 8}), 0.5), inputs(8, 2, 1, 4));
  check_differences(reference({int32({0, 3, 5, 8}), int32({-1, 0, 0}), int64({2, 4, 7})}, 0.5), inputs(8, 2, 1, 4, 3));
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
  const at::Tensor cu = int32({0, 2, 4, 6});
  CHECK_THROWS_WITH_AS(op({cu, int32({-1, 0, 2})}, 1.0)(in), "parents[2]: expected -1 or a segment from 0 to 1, received 2",
                       Error);
  CHECK_THROWS_WITH_AS(op({cu, int32({-1, -1, 0})}, 1.0)(in), "parents[2]: expected -1 or a segment from 1 to 1, received 0",
                       Error);
  CHECK_THROWS_WITH_AS(op({cu, {}, int64({0, 3, 3, 4, 4, 5})}, 1.0)(in), "queries[2]: expected a token from 4 to 5, received 3",
                       Error);
  CHECK_THROWS_AS(op({cu, {}, int64({0, 3})}, 1.0)(in), Error);
}

}  // namespace prudent::tests
