#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/silu.h>

#include "core/error.h"
#include "kernels/matmul/int8_weights.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels {

namespace {

at::Tensor with_bias(const at::Tensor& x, const at::Tensor& bias) { return bias.defined() ? x + bias : x; }

at::Tensor activate(const at::Tensor& x, Activation activation) {
  if (activation == Activation::Silu) return at::silu(x);
  return at::gelu(x, activation == Activation::GeluTanh ? "tanh" : "none");
}

void keep(at::Tensor* slot, const at::Tensor& value) {
  if (slot != nullptr) *slot = value;
}

at::Tensor finish(const at::Tensor& bare, const at::Tensor& bare_gate, const MatmulEpilogue& epilogue) {
  const at::Tensor product = with_bias(bare, epilogue.bias);
  if (bare_gate.defined()) {
    const at::Tensor gate = with_bias(bare_gate, epilogue.gate_bias);
    keep(epilogue.saved, product);
    keep(epilogue.saved_gate, gate);
    return activate(gate, *epilogue.activation) * product;
  }
  if (epilogue.activation) keep(epilogue.saved, product);
  const at::Tensor out = epilogue.activation ? activate(product, *epilogue.activation) : product;
  return epilogue.residual.defined() ? epilogue.residual + out : out;
}

}  // namespace

at::Tensor matmul_reference(const at::Tensor& left, const at::Tensor& right, const MatmulEpilogue& epilogue) {
  return finish(at::mm(left, right), epilogue.gate.defined() ? at::mm(left, epilogue.gate) : at::Tensor(), epilogue);
}

at::Tensor matmul_int8_reference(const at::Tensor& left, const Int8Weights& weights, const MatmulEpilogue& epilogue) {
  PRUDENT_CHECK(weights.values.defined(), "E_STATE", "weights", "quantised weights as they lie", "packed ones");
  const at::Tensor wide = left.to(at::kFloat);
  const at::Tensor most = left.size(0) == 0 ? wide.narrow(1, 0, 1) : wide.abs().amax({1}, true);
  const at::Tensor units = (wide * (127.0 / most).masked_fill(most <= kLeastMagnitude, 0)).round_();
  const auto product = [&](const at::Tensor& values, const at::Tensor& scale) {
    return at::mm(units, values.t().to(at::kFloat)).mul_(scale).mul_(most / 127.0).to(left.scalar_type());
  };
  return finish(product(weights.values, weights.scale),
                weights.gated() ? product(weights.gate_values, weights.gate_scale) : at::Tensor(), epilogue);
}

}  // namespace prudent::kernels
