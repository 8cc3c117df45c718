#include "kernels/op_check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "support/tolerances.h"

namespace prudent::tests {

namespace {

Tensors to_dtype(const Tensors& inputs, at::ScalarType dtype) {
  Tensors out;
  for (const at::Tensor& input : inputs) out.push_back(input.to(dtype));
  return out;
}

double worst_error(const Evaluated& actual, const Evaluated& expected) {
  double worst = 0.0;
  for (size_t i = 0; i < expected.outputs.size(); ++i) worst = std::max(worst, error_of(actual.outputs[i], expected.outputs[i]));
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    worst = std::max(worst, error_of(actual.gradients[i], expected.gradients[i]));
  }
  return worst;
}

Tensors with_one_moved(const Tensors& inputs, size_t which) {
  Tensors moved;
  for (const at::Tensor& input : inputs) moved.push_back(input.clone());
  at::Tensor flat = moved[which].view({-1});
  flat.select(0, flat.size(0) / 2).add_(0.5);
  return moved;
}

double weighted_sum(const Function& function, const Tensors& inputs) {
  const c10::AutoGradMode without_grad(false);
  double sum = 0.0;
  const Tensors outputs = function(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    sum += (outputs[i] * normal(outputs[i].sizes(), 900 + i).to(outputs[i].scalar_type())).sum().item<double>();
  }
  return sum;
}

}  // namespace

at::Tensor normal(at::IntArrayRef shape, uint64_t seed, double scale) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kDouble)).to(at::kFloat) * scale;
}

double error_of(const at::Tensor& actual, const at::Tensor& expected) {
  REQUIRE(actual.sizes() == expected.sizes());
  if (expected.numel() == 0) return 0.0;
  const at::Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  const double error = (a - e).abs().max().item<double>() / std::max(1.0, e.abs().max().item<double>());
  return error == error ? error : 1e300;
}

Evaluated evaluate(const Function& function, const Tensors& inputs) {
  const c10::AutoGradMode with_grad(true);
  Tensors leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().clone().requires_grad_());
  Evaluated out;
  out.outputs = function(leaves);
  Tensors weights;
  for (size_t i = 0; i < out.outputs.size(); ++i) {
    weights.push_back(normal(out.outputs[i].sizes(), 900 + i).to(out.outputs[i].scalar_type()));
  }
  out.gradients = torch::autograd::grad(out.outputs, leaves, weights);
  return out;
}

void check_parity(const Function& op, const Function& reference, const Tensors& inputs, double tolerance) {
  const Evaluated expected = evaluate(reference, inputs);
  CHECK(worst_error(evaluate(op, inputs), expected) <= tolerance);
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO("twin: input ", i, " moved");
    CHECK(worst_error(evaluate(op, with_one_moved(inputs, i)), expected) > tolerance);
  }
}

void check_parity_bf16(const Function& op, const Function& reference, const Tensors& inputs) {
  const Tensors rounded = to_dtype(inputs, at::kBFloat16);
  const Evaluated truth = evaluate(reference, to_dtype(rounded, at::kFloat));
  const Evaluated ours = evaluate(op, rounded), theirs = evaluate(reference, rounded);
  const auto compare = [](const Tensors& our, const Tensors& their, const Tensors& expected, const char* what) {
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO(what, " ", i);
      CHECK(error_of(our[i], expected[i]) <= std::max(kBf16Floor, kBf16Factor * error_of(their[i], expected[i])));
    }
  };
  compare(ours.outputs, theirs.outputs, truth.outputs, "output");
  compare(ours.gradients, theirs.gradients, truth.gradients, "gradient");
  INFO("twin: input 0 moved");
  const Evaluated moved = evaluate(op, to_dtype(with_one_moved(inputs, 0), at::kBFloat16));
  CHECK(worst_error(moved, truth) > kBf16Floor);
}

void check_differences(const Function& reference, const Tensors& inputs) {
  const Tensors wide = to_dtype(inputs, at::kDouble);
  const Evaluated analytic = evaluate(reference, wide);
  for (size_t i = 0; i < wide.size(); ++i) {
    const int64_t count = wide[i].numel(), stride = std::max<int64_t>(1, count / 12);
    const at::Tensor gradient = analytic.gradients[i].contiguous().view({-1});
    for (int64_t j = 0; j < count; j += stride) {
      const auto at_offset = [&](double offset) {
        Tensors shifted = wide;
        shifted[i] = wide[i].clone();
        shifted[i].view({-1}).select(0, j).add_(offset);
        return weighted_sum(reference, shifted);
      };
      const double difference = (at_offset(kDifferenceStep) - at_offset(-kDifferenceStep)) / (2.0 * kDifferenceStep);
      const double slope = gradient.select(0, j).item<double>();
      INFO("input ", i, " element ", j);
      CHECK(std::abs(difference - slope) <= kDifference * std::max(1.0, std::abs(slope)));
      CHECK(std::abs(difference + 1.0 - slope) > kDifference * std::max(1.0, std::abs(slope)));
    }
  }
}

}  // namespace prudent::tests
