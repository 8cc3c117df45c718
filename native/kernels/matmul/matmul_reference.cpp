#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/silu.h>

#include "kernels/matmul/matmul.h"

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

}  // namespace

at::Tensor matmul_reference(const at::Tensor& left, const at::Tensor& right, const MatmulEpilogue& epilogue) {
  const at::Tensor product = with_bias(at::mm(left, right), epilogue.bias);
  if (epilogue.gate.defined()) {
    const at::Tensor gate = with_bias(at::mm(left, epilogue.gate), epilogue.gate_bias);
    keep(epilogue.saved, product);
    keep(epilogue.saved_gate, gate);
    return activate(gate, *epilogue.activation) * product;
  }
  if (epilogue.activation) keep(epilogue.saved, product);
  const at::Tensor out = epilogue.activation ? activate(product, *epilogue.activation) : product;
  return epilogue.residual.defined() ? epilogue.residual + out : out;
}

}  // namespace prudent::kernels
