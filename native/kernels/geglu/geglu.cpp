#include "kernels/geglu/geglu.h"

#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/geglu/geglu_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GegluNode : torch::autograd::Function<GegluNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up, int64_t kind) {
    context->save_for_backward({gate, up});
    context->saved_data["kind"] = kind;
    const at::Tensor y = at::empty_like(gate);
    const GegluForward args{.gate = gate.const_data_ptr(),
                            .up = up.const_data_ptr(),
                            .y = y.mutable_data_ptr(),
                            .count = gate.numel(),
                            .kind = static_cast<GegluKind>(kind),
                            .bf16 = gate.scalar_type() == at::kBFloat16};
    if (args.count > 0) PRUDENT_RUN_KERNEL(geglu_forward, args, gate);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const auto activation = static_cast<Activation>(context->saved_data["kind"].toInt());
    const auto [grad_gate, grad_up] = geglu_gradients(saved[0], saved[1], grads[0].contiguous(), activation);
    return {grad_gate, grad_up, at::Tensor()};
  }
};

}  // namespace

std::pair<at::Tensor, at::Tensor> geglu_gradients(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad_y,
                                                  Activation activation) {
  const at::Tensor grad_gate = at::empty_like(gate), grad_up = at::empty_like(up);
  const GegluBackward args{.gate = gate.const_data_ptr(),
                           .up = up.const_data_ptr(),
                           .grad_y = grad_y.const_data_ptr(),
                           .grad_gate = grad_gate.mutable_data_ptr(),
                           .grad_up = grad_up.mutable_data_ptr(),
                           .count = gate.numel(),
                           .kind = static_cast<GegluKind>(activation),
                           .bf16 = gate.scalar_type() == at::kBFloat16};
  if (args.count > 0) PRUDENT_RUN_KERNEL(geglu_backward, args, gate);
  return {grad_gate, grad_up};
}

at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  check_kernel_dtype(gate, "gate");
  check_dims(gate, "gate", 2, "[tokens, intermediate]");
  check_device(gate, "gate");
  check_same_dtype(up, "up", gate);
  check_shape(up, "up", {gate.size(0), gate.size(1)});
  check_same_device(up, "up", gate);
  return GegluNode::apply(gate.contiguous(), up.contiguous(), static_cast<int64_t>(activation));
}

}  // namespace prudent::kernels
