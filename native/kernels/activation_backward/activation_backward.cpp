#include "kernels/activation_backward/activation_backward.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "kernels/activation_backward/activation_backward_kernel.h"
#include "kernels/common/run_kernel.h"

namespace prudent::kernels {

ActivationBackward activation_backward(const at::Tensor& grad_y, const at::Tensor& u, std::optional<Activation> activation,
                                       bool want_bias) {
  check_kernel_dtype(grad_y, "grad_y");
  check_dims(grad_y, "grad_y", 2, "[tokens, size]");
  if (activation) {
    check_same_dtype(u, "u", grad_y);
    check_shape(u, "u", {grad_y.size(0), grad_y.size(1)});
    check_same_device(u, "u", grad_y);
  }
  check_device(grad_y, "grad_y");

  const at::Tensor dense_grad = grad_y.contiguous(), dense_u = activation ? u.contiguous() : at::Tensor();
  const int64_t tokens = grad_y.size(0), size = grad_y.size(1);
  ActivationBackward out{activation ? at::empty_like(dense_grad) : grad_y, {}};
  at::Tensor partial;
  if (want_bias) {
    out.grad_bias = at::empty({size}, grad_y.options());
    partial = at::empty({(tokens + kActivationBlock - 1) / kActivationBlock, size}, grad_y.options().dtype(at::kFloat));
  }
  const ActivationBackwardArgs args{.grad_y = dense_grad.const_data_ptr(),
                                    .u = activation ? dense_u.const_data_ptr() : nullptr,
                                    .grad_u = activation ? out.grad_u.mutable_data_ptr() : nullptr,
                                    .grad_bias = want_bias ? out.grad_bias.mutable_data_ptr() : nullptr,
                                    .partial = want_bias ? partial.mutable_data_ptr<float>() : nullptr,
                                    .tokens = tokens,
                                    .size = size,
                                    .kind = static_cast<GegluKind>(activation.value_or(Activation::GeluTanh)),
                                    .bf16 = grad_y.scalar_type() == at::kBFloat16};
  if ((activation || want_bias) && size > 0) PRUDENT_RUN_KERNEL(activation_backward_run, args, grad_y);
  return out;
}

}  // namespace prudent::kernels
