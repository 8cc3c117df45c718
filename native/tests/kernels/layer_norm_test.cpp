#include "kernels/layer_norm/layer_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/layer_norm.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

Tensors op(const Tensors& in) { return {kernels::layer_norm(in[0], in[1], in[2], 1e-5)}; }
Tensors reference(const Tensors& in) { return {kernels::layer_norm_reference(in[0], in[1], in[2], 1e-5)}; }
Tensors inputs(int64_t tokens, int64_t hidden) { return {normal({tokens, hidden}, 1), normal({hidden}, 2), normal({hidden}, 3)}; }

}  // namespace

TEST_CASE("layer_norm: parity and gradient over odd shapes") {
  for (const auto& [tokens, hidden] :
       {std::pair(1, 5), {1, 16}, {3, 7}, {64, 64}, {65, 33}, {200, 100}, {2, 48}, {67, 62}, {5, 2048}}) {
    CAPTURE(tokens);
    CAPTURE(hidden);
    check_parity(op, reference, inputs(tokens, hidden), kParityMatmulFp32);
    check_parity_bf16(op, reference, inputs(tokens, hidden));
  }
}

TEST_CASE("layer_norm: gradient of the reference against differences") { check_differences(reference, inputs(4, 9)); }

TEST_CASE("layer_norm: what PyTorch's own says") {
  const Tensors in = inputs(20, 65);
  CHECK(error_of(op(in)[0], at::layer_norm(in[0], {65}, in[1], in[2], 1e-5)) <= kParityFp32);
}

TEST_CASE("layer_norm: a large mean does not eat the variance") {
  Tensors in = inputs(7, 300);
  in[0] = in[0] + 1000.0;
  const at::Tensor truth =
      kernels::layer_norm_reference(in[0].to(at::kDouble), in[1].to(at::kDouble), in[2].to(at::kDouble), 1e-5);
  CHECK(error_of(op(in)[0], truth) <= 1e-3);  // 1000 leaves fp32 steps of 6e-5 in x itself
}

TEST_CASE("layer_norm: a constant row gives the bias, a hidden size of one too") {
  const Tensors in = inputs(3, 8);
  const at::Tensor same = in[0] * 0.0 + 2.5;
  CHECK(error_of(kernels::layer_norm(same, in[1], in[2], 1e-5), in[2].expand({3, 8})) <= kParityFp32);
  const Tensors one = inputs(4, 1);
  CHECK(error_of(op(one)[0], one[2].expand({4, 1})) <= kParityFp32);
}

TEST_CASE("layer_norm: tokens that lie apart") {
  const at::Tensor x = normal({6, 20}, 5).narrow(1, 4, 10), weight = normal({10}, 6), bias = normal({10}, 7);
  CHECK(error_of(kernels::layer_norm(x, weight, bias, 1e-5), kernels::layer_norm_reference(x, weight, bias, 1e-5)) <=
        kParityFp32);
}

TEST_CASE("layer_norm: wrong arguments are named") {
  const at::Tensor x = normal({2, 8}, 3), weight = normal({8}, 4);
  CHECK_THROWS_WITH_AS(kernels::layer_norm(x, weight, normal({7}, 4), 1e-5),
                       "bias: expected shape [8], received Float [7] on cpu", Error);
  CHECK_THROWS_AS(kernels::layer_norm(x, weight.to(at::kBFloat16), weight, 1e-5), Error);
}

}  // namespace prudent::tests
