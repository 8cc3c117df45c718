#include "kernels/linear/linear.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::Activation;
using kernels::LinearOptions;
using kernels::WeightLayout;

struct Case {
  WeightLayout layout;
  bool bias, residual;
  std::optional<Activation> activation;
};

// inputs: x, weight, then bias and residual where the case has them.
LinearOptions options_of(const Case& c, const Tensors& in) {
  LinearOptions options{.layout = c.layout, .activation = c.activation};
  size_t next = 2;
  if (c.bias) options.bias = in[next++];
  if (c.residual) options.residual = in[next];
  return options;
}

Tensors inputs_of(const Case& c, int64_t tokens, int64_t in, int64_t out) {
  Tensors inputs = {normal({tokens, in}, 1),
                    c.layout == WeightLayout::OutIn ? normal({out, in}, 2, 0.3) : normal({in, out}, 2, 0.3)};
  if (c.bias) inputs.push_back(normal({out}, 3));
  if (c.residual) inputs.push_back(normal({tokens, out}, 4));
  return inputs;
}

Function op(const Case& c) {
  return [=](const Tensors& in) { return Tensors{kernels::linear(in[0], in[1], options_of(c, in))}; };
}
Function reference(const Case& c) {
  return [=](const Tensors& in) { return Tensors{kernels::linear_reference(in[0], in[1], options_of(c, in))}; };
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const WeightLayout layout : {WeightLayout::OutIn, WeightLayout::InOut}) {
    for (const bool bias : {false, true}) {
      for (const bool residual : {false, true}) all.push_back({layout, bias, residual, std::nullopt});
    }
    for (const Activation activation : {Activation::GeluTanh, Activation::GeluExact, Activation::Silu}) {
      all.push_back({layout, true, false, activation});
    }
  }
  all.push_back({WeightLayout::OutIn, true, true, Activation::GeluTanh});
  return all;
}

}  // namespace

TEST_CASE("linear: parity and gradient over odd shapes, layouts and epilogues") {
  for (const Case& c : cases()) {
    for (const auto& [tokens, in, out] : {std::tuple(1, 1, 1), {3, 16, 5}, {17, 33, 40}, {50, 70, 96}}) {
      CAPTURE(static_cast<int>(c.layout));
      CAPTURE(c.bias);
      CAPTURE(c.residual);
      CAPTURE(tokens);
      const Tensors inputs = inputs_of(c, tokens, in, out);
      check_parity(op(c), reference(c), inputs, kParityMatmulFp32);
      check_parity_bf16(op(c), reference(c), inputs);
    }
  }
}

TEST_CASE("linear: gradient of the reference against differences") {
  for (const Case& c : cases()) check_differences(reference(c), inputs_of(c, 3, 5, 4));
}

TEST_CASE("linear: the same bits with gradients and without") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = normal({37, 70}, 1).to(dtype), weight = normal({50, 70}, 2, 0.2).to(dtype),
                     bias = normal({50}, 3).to(dtype);
    for (const auto& activation : {std::optional<Activation>(), std::optional(Activation::GeluTanh)}) {
      const kernels::LinearOptions options{.bias = bias, .activation = activation};
      const at::Tensor plain = kernels::linear(x, weight, options);
      CHECK(kernels::linear(x.clone().requires_grad_(), weight, options).equal(plain));
      CHECK_FALSE(kernels::linear(x.mul(1.01).requires_grad_(), weight, options).equal(plain));
    }
  }
}

TEST_CASE("linear: gradients need no value") {
  for (const Case& c : cases()) {
    const Tensors inputs = inputs_of(c, 17, 33, 40);
    const auto gradients = [&](bool value_is_read) {
      Tensors leaves;
      for (const at::Tensor& input : inputs) leaves.push_back(input.clone().requires_grad_());
      LinearOptions options = options_of(c, leaves);
      options.value_is_read = value_is_read;
      kernels::linear(leaves[0], leaves[1], options).backward(normal({17, 40}, 9));
      for (at::Tensor& leaf : leaves) leaf = leaf.grad();
      return leaves;
    };
    const Tensors with = gradients(true), without = gradients(false);
    for (size_t i = 0; i < with.size(); ++i) CHECK(without[i].equal(with[i]));
  }
  // Nothing waits for a gradient: the value it is.
  const at::Tensor x = normal({4, 6}, 1), weight = normal({5, 6}, 2);
  CHECK(kernels::linear(x, weight, {.value_is_read = false}).equal(kernels::linear(x, weight)));
}

TEST_CASE("linear: a frozen weight gets no gradient, its input does") {
  const at::Tensor x = normal({4, 6}, 1).requires_grad_(), weight = normal({5, 6}, 2);
  const at::Tensor y = kernels::linear(x, weight);
  y.sum().backward();
  CHECK(x.grad().defined());
  CHECK_FALSE(weight.grad().defined());
}

}  // namespace prudent::tests
