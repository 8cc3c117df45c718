// Projections with what follows them in one pass.
#include <ATen/TensorOperators.h>

#include "kernels/gated_linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "op_case.h"

namespace prudent::bench {

OpCase matmul_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), in = size_of(spec, "in"), out = size_of(spec, "out");
  OpCase op;
  op.ours = [](const Tensors& x) { return Tensors{kernels::matmul(x[0], x[1].t())}; };
  op.reference = [](const Tensors& x) { return Tensors{kernels::matmul_reference(x[0], x[1].t())}; };
  op.inputs = {normal({tokens, in}, 1).to(device, dtype_of(spec)), normal({out, in}, 2, 0.02).to(device, dtype_of(spec))};
  op.differentiable = false;
  return op;
}

OpCase linear_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), in = size_of(spec, "in"), out = size_of(spec, "out");
  const auto options = [](const Tensors& x) {
    return kernels::LinearOptions{.layout = kernels::WeightLayout::OutIn, .bias = x[2], .residual = x[3]};
  };
  OpCase op;
  op.ours = [=](const Tensors& x) { return Tensors{kernels::linear(x[0], x[1], options(x))}; };
  op.reference = [=](const Tensors& x) { return Tensors{kernels::linear_reference(x[0], x[1], options(x))}; };
  const auto random = [&](at::IntArrayRef shape, uint64_t seed, double scale) {
    return normal(shape, seed, scale).to(device, dtype_of(spec));
  };
  op.inputs = {random({tokens, in}, 1, 1.0), random({out, in}, 2, 0.02), random({out}, 3, 0.02), random({tokens, out}, 4, 1.0)};
  return op;
}

OpCase gated_linear_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), in = size_of(spec, "in"), out = size_of(spec, "intermediate");
  const auto weights = [](const Tensors& x) { return kernels::GatedWeights{.gate = x[1], .up = x[2]}; };
  constexpr auto kActivation = kernels::Activation::GeluTanh;
  OpCase op;
  op.ours = [=](const Tensors& x) { return Tensors{kernels::gated_linear(x[0], weights(x), kActivation)}; };
  op.reference = [=](const Tensors& x) { return Tensors{kernels::gated_linear_reference(x[0], weights(x), kActivation)}; };
  const auto weight = [&](uint64_t seed) { return normal({out, in}, seed, 0.02).to(device, dtype_of(spec)); };
  op.inputs = {normal({tokens, in}, 1).to(device, dtype_of(spec)), weight(2), weight(3)};
  return op;
}

}  // namespace prudent::bench
