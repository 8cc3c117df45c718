#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/silu_backward.h>

#include "kernels/activation_backward/activation_backward.h"

namespace prudent::kernels {

ActivationBackward activation_backward_reference(const at::Tensor& grad_y, const at::Tensor& u,
                                                 std::optional<Activation> activation, bool want_bias) {
  ActivationBackward out;
  if (!activation) {
    out.grad_u = grad_y;
  } else if (*activation == Activation::Silu) {
    out.grad_u = at::silu_backward(grad_y, u);
  } else {
    out.grad_u = at::gelu_backward(grad_y, u, *activation == Activation::GeluTanh ? "tanh" : "none");
  }
  const at::ScalarType wide = grad_y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (want_bias) out.grad_bias = out.grad_u.sum(0, false, wide).to(grad_y.scalar_type());
  return out;
}

}  // namespace prudent::kernels
