// One description of an operation, tested for parity with its reference, for gradients and for its twin that must fail.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace prudent::tests {

using Tensors = std::vector<at::Tensor>;
// Inputs that take a gradient in, outputs that carry one out.
using Function = std::function<Tensors(const Tensors&)>;

// How many times fewer rows a test of many may take: the emulator of CUDA (native/tests/cuda_emulator) is slow.
#ifdef PRUDENT_CUDA_EMULATED
constexpr int64_t kFewer = 10;
#else
constexpr int64_t kFewer = 1;
#endif

at::Tensor normal(at::IntArrayRef shape, uint64_t seed, double scale = 1.0);

// max |actual - expected| / max(1, max |expected|)
double error_of(const at::Tensor& actual, const at::Tensor& expected);

struct Evaluated {
  Tensors outputs, gradients;
};
// Outputs, and the gradients of sum_i (outputs[i] * fixed random weights) in the inputs.
Evaluated evaluate(const Function& function, const Tensors& inputs);

// Outputs and gradients of `op` are those of `reference` within `tolerance`. The twin: with one element of any one input moved
// by 0.5, they are not.
void check_parity(const Function& op, const Function& reference, const Tensors& inputs, double tolerance);

// The same in bfloat16: the error against the reference in fp32 is at most twice the reference's own in bfloat16.
void check_parity_bf16(const Function& op, const Function& reference, const Tensors& inputs);

// Gradients of the reference in float64 against central differences: the truth that check_parity relies on.
void check_differences(const Function& reference, const Tensors& inputs);

}  // namespace prudent::tests
