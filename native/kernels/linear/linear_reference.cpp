#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/silu.h>

#include "kernels/linear/linear.h"

namespace prudent::kernels {

namespace {

at::Tensor affine(const at::Tensor& x, const at::Tensor& weight, const LinearOptions& options) {
  const bool has_bias = options.bias.defined();
  if (options.layout == WeightLayout::OutIn) return has_bias ? at::linear(x, weight, options.bias) : at::linear(x, weight);
  return has_bias ? at::addmm(options.bias, x, weight) : at::mm(x, weight);
}

}  // namespace

at::Tensor linear_reference(const at::Tensor& x, const at::Tensor& weight, const LinearOptions& options) {
  if (!options.activation && !options.bias.defined() && options.residual.defined()) {
    return at::addmm(options.residual, x, as_right(weight, options.layout));  // no separate pass for the sum
  }
  at::Tensor y = affine(x, weight, options);
  if (options.activation == Activation::Silu) {
    y = at::silu(y);
  } else if (options.activation) {
    y = at::gelu(y, options.activation == Activation::GeluTanh ? "tanh" : "none");
  }
  return options.residual.defined() ? options.residual + y : y;
}

}  // namespace prudent::kernels
