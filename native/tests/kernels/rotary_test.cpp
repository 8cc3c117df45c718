#include "kernels/rotary/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

struct Tables {
  at::Tensor positions, cos, sin;
};

Tables tables(int64_t tokens, int64_t head_dim) {
  const auto fp32 = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor frequency = at::arange(head_dim / 2, fp32).mul(-2.0 * 9.21 / static_cast<double>(head_dim)).exp();
  const at::Tensor angle = at::outer(at::arange(50, fp32), frequency);
  return {at::arange(tokens, at::TensorOptions().dtype(at::kLong)).mul(7).remainder(50), angle.cos(), angle.sin()};
}
Function op(const Tables& t) {
  return [=](const Tensors& in) { return Tensors{kernels::rotary(in[0], t.positions, t.cos, t.sin)}; };
}
Function reference(const Tables& t) {
  return [=](const Tensors& in) { return Tensors{kernels::rotary_reference(in[0], t.positions, t.cos, t.sin)}; };
}

}  // namespace

TEST_CASE("rotary: parity and gradient over odd shapes") {
  for (const auto& [tokens, heads, dim] : {std::tuple(1, 1, 2), {1, 2, 6}, {13, 3, 32}, {40, 1, 256}, {9, 4, 20}}) {
    CAPTURE(tokens);
    CAPTURE(heads);
    CAPTURE(dim);
    const Tables t = tables(tokens, dim);
    check_parity(op(t), reference(t), {normal({tokens, heads, dim}, 1)}, kParityFp32);
    check_parity_bf16(op(t), reference(t), {normal({tokens, heads, dim}, 1)});
  }
}

TEST_CASE("rotary: gradient of the reference against differences") {
  check_differences(reference(tables(5, 6)), {normal({5, 2, 6}, 2)});
}

TEST_CASE("rotary: a slice of a fused projection keeps its strides") {
  const Tables t = tables(7, 8);
  const at::Tensor fused = normal({7, 48}, 3), x = fused.narrow(1, 16, 16).view({7, 2, 8});
  CHECK(error_of(op(t)({x})[0], reference(t)({x})[0]) <= kParityFp32);
}

TEST_CASE("rotary: position 0 leaves x as it is") {
  const Tables t = tables(1, 8);
  const at::Tensor x = normal({1, 2, 8}, 4);
  CHECK(op(t)({x})[0].equal(x));
}

TEST_CASE("rotary: wrong arguments are named") {
  const Tables t = tables(3, 8);
  CHECK_THROWS_WITH_AS(kernels::rotary(normal({3, 1, 8}, 1), t.positions + 60, t.cos, t.sin),
                       "positions[0]: expected a number from 0 to 49, received 60", Error);
  CHECK_THROWS_AS(kernels::rotary(normal({3, 1, 7}, 1), t.positions, t.cos, t.sin), Error);
}

}  // namespace prudent::tests
