// Elementwise kernels of the decoder blocks and the rows of the embedding, all bound by memory.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <cmath>

#include "kernels/activation_backward/activation_backward.h"
#include "kernels/embedding/embedding.h"
#include "kernels/geglu/geglu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "op_case.h"

namespace prudent::bench {

namespace {

double bytes_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

}  // namespace

OpCase rms_norm_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), hidden = size_of(spec, "hidden");
  OpCase op;
  op.ours = [](const Tensors& in) { return Tensors{kernels::rms_norm(in[0], in[1], 1e-6, true)}; };
  op.reference = [](const Tensors& in) { return Tensors{kernels::rms_norm_reference(in[0], in[1], 1e-6, true)}; };
  op.inputs = {normal({tokens, hidden}, 1).to(device, dtype_of(spec)), normal({hidden}, 2, 0.1).to(device, dtype_of(spec))};
  op.forward_bytes = 2 * bytes_of(op.inputs[0]);
  op.backward_bytes = 3 * bytes_of(op.inputs[0]);  // x and dy in, dx out
  return op;
}

OpCase layer_norm_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), hidden = size_of(spec, "hidden");
  OpCase op;
  op.ours = [](const Tensors& in) { return Tensors{kernels::layer_norm(in[0], in[1], in[2], 1e-5)}; };
  op.reference = [](const Tensors& in) { return Tensors{kernels::layer_norm_reference(in[0], in[1], in[2], 1e-5)}; };
  op.inputs = {normal({tokens, hidden}, 1).to(device, dtype_of(spec)),
               (normal({hidden}, 2, 0.1) + 1.0).to(device, dtype_of(spec)), normal({hidden}, 3, 0.1).to(device, dtype_of(spec))};
  op.forward_bytes = 2 * bytes_of(op.inputs[0]);
  op.backward_bytes = 3 * bytes_of(op.inputs[0]);  // x and dy in, dx out
  return op;
}

OpCase embedding_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), vocab = size_of(spec, "vocab");
  const at::Tensor ids = at::arange(tokens, at::kLong).square().remainder(vocab).to(device);  // some of them repeated
  OpCase op;
  op.ours = [=](const Tensors& in) { return Tensors{kernels::embedding(in[0], ids)}; };
  op.reference = [=](const Tensors& in) { return Tensors{kernels::embedding_reference(in[0], ids)}; };
  op.inputs = {normal({vocab, size_of(spec, "width")}, 1).to(device, dtype_of(spec))};
  const double rows = bytes_of(op.inputs[0]) * static_cast<double>(tokens) / static_cast<double>(vocab);
  op.forward_bytes = 2 * rows;
  op.backward_bytes = rows + bytes_of(op.inputs[0]);  // dy in; the table's gradient out, zeros for the most part
  return op;
}

OpCase rotary_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), heads = size_of(spec, "heads"), dim = size_of(spec, "head_dim");
  const int64_t longest = size_of(spec, "positions");
  const at::Tensor positions = at::arange(tokens, at::kLong).remainder(longest).to(device);
  const at::Tensor frequencies = (at::arange(dim / 2, at::kFloat) * (-2.0 * std::log(10000.0) / static_cast<double>(dim))).exp();
  const at::Tensor angles = at::arange(longest, at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  const at::Tensor cos = angles.cos().to(device), sin = angles.sin().to(device);
  OpCase op;
  op.ours = [=](const Tensors& in) { return Tensors{kernels::rotary(in[0], positions, cos, sin)}; };
  op.reference = [=](const Tensors& in) { return Tensors{kernels::rotary_reference(in[0], positions, cos, sin)}; };
  op.inputs = {normal({tokens, heads, dim}, 1).to(device, dtype_of(spec))};
  op.forward_bytes = op.backward_bytes = 2 * bytes_of(op.inputs[0]);
  return op;
}

OpCase geglu_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), width = size_of(spec, "intermediate");
  constexpr auto kActivation = kernels::Activation::GeluTanh;
  OpCase op;
  op.ours = [](const Tensors& in) { return Tensors{kernels::geglu(in[0], in[1], kActivation)}; };
  op.reference = [](const Tensors& in) { return Tensors{kernels::geglu_reference(in[0], in[1], kActivation)}; };
  op.inputs = {normal({tokens, width}, 1).to(device, dtype_of(spec)), normal({tokens, width}, 2).to(device, dtype_of(spec))};
  op.forward_bytes = 3 * bytes_of(op.inputs[0]);
  op.backward_bytes = 5 * bytes_of(op.inputs[0]);  // gate, up, dy in, both gradients out
  return op;
}

OpCase activation_backward_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), width = size_of(spec, "intermediate");
  const auto with = [](auto backward) {
    return [=](const Tensors& in) {
      const kernels::ActivationBackward out = backward(in[0], in[1], kernels::Activation::GeluTanh, /*want_bias=*/true);
      return Tensors{out.grad_u, out.grad_bias};
    };
  };
  OpCase op;
  op.ours = with(kernels::activation_backward);
  op.reference = with(kernels::activation_backward_reference);
  op.inputs = {normal({tokens, width}, 1).to(device, dtype_of(spec)), normal({tokens, width}, 2).to(device, dtype_of(spec))};
  op.differentiable = false;
  op.forward_bytes = 3 * bytes_of(op.inputs[0]);  // dy and u in, du out
  return op;
}

}  // namespace prudent::bench
