#include "kernels/rms_norm/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

Function op(bool unit_offset) {
  return [=](const Tensors& in) { return Tensors{kernels::rms_norm(in[0], in[1], 1e-6, unit_offset)}; };
}
Function reference(bool unit_offset) {
  return [=](const Tensors& in) { return Tensors{kernels::rms_norm_reference(in[0], in[1], 1e-6, unit_offset)}; };
}
Tensors inputs(int64_t tokens, int64_t hidden) { return {normal({tokens, hidden}, 1), normal({hidden}, 2)}; }

}  // namespace

TEST_CASE("rms_norm: parity and gradient over odd shapes") {
  for (const bool unit_offset : {false, true}) {
    for (const auto& [tokens, hidden] :
         {std::pair(1, 2), {1, 16}, {3, 7}, {64, 64}, {65, 33}, {200, 100}, {2, 48}, {67, 62}, {5, 2048}}) {
      CAPTURE(unit_offset);
      CAPTURE(tokens);
      CAPTURE(hidden);
      check_parity(op(unit_offset), reference(unit_offset), inputs(tokens, hidden), kParityMatmulFp32);
      check_parity_bf16(op(unit_offset), reference(unit_offset), inputs(tokens, hidden));
    }
  }
}

TEST_CASE("rms_norm: gradient of the reference against differences") {
  check_differences(reference(false), inputs(4, 9));
  check_differences(reference(true), inputs(4, 9));
}

TEST_CASE("rms_norm: a row of zeros gives zeros, not NaN") {
  const at::Tensor x = normal({2, 8}, 3) * 0.0, weight = normal({8}, 4);
  CHECK(kernels::rms_norm(x, weight, 1e-6, true).abs().max().item<double>() == 0.0);
}

TEST_CASE("rms_norm: a hidden size of one leaves the sign") {
  const at::Tensor x = normal({5, 1}, 3), weight = normal({1}, 4);
  CHECK(error_of(kernels::rms_norm(x, weight, 0.0, false), x.sign() * weight) <= kParityFp32);
}

TEST_CASE("rms_norm: tokens that lie apart") {
  const at::Tensor wide = normal({6, 20}, 5), x = wide.narrow(1, 4, 10), weight = normal({10}, 6);
  CHECK(error_of(kernels::rms_norm(x, weight, 1e-6, false), kernels::rms_norm_reference(x, weight, 1e-6, false)) <= kParityFp32);
}

TEST_CASE("rms_norm: wrong arguments are named") {
  const at::Tensor x = normal({2, 8}, 3);
  CHECK_THROWS_WITH_AS(kernels::rms_norm(x, normal({7}, 4), 1e-6, true), "weight: expected shape [8], received Float [7] on cpu",
                       Error);
  CHECK_THROWS_AS(kernels::rms_norm(x.to(at::kDouble), normal({8}, 4), 1e-6, true), Error);
}

}  // namespace prudent::tests
