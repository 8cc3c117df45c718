#include "kernels/rms_norm/rms_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Normalised {
  at::Tensor y, rstd;
};

Normalised run_forward(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset) {
  Normalised out{at::empty_like(x), at::empty({x.size(0)}, x.options().dtype(at::kFloat))};
  const RmsNormForward args{.x = x.const_data_ptr(),
                            .weight = weight.const_data_ptr(),
                            .y = out.y.mutable_data_ptr(),
                            .rstd = out.rstd.mutable_data_ptr<float>(),
                            .tokens = x.size(0),
                            .hidden = x.size(1),
                            .eps = static_cast<float>(eps),
                            .unit_offset = unit_offset,
                            .bf16 = x.scalar_type() == at::kBFloat16};
  if (x.numel() > 0) PRUDENT_RUN_KERNEL(rms_norm_forward, args, x);
  return out;
}

struct RmsNormNode : torch::autograd::Function<RmsNormNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps,
                            bool unit_offset) {
    const Normalised out = run_forward(x, weight, eps, unit_offset);
    context->save_for_backward({x, weight, out.rstd});
    context->saved_data["unit_offset"] = unit_offset;
    return out.y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &rstd = saved[2];
    const at::Tensor grad_y = grads[0].contiguous();
    const at::Tensor grad_x = at::empty_like(x), grad_weight = at::empty_like(weight);
    const int64_t block = runs_cuda_kernels(x) ? kRmsNormCudaBlock : kRmsNormBlock;
    const int64_t blocks = (x.size(0) + block - 1) / block;
    const at::Tensor partial = at::empty({blocks, x.size(1)}, rstd.options());
    const RmsNormBackward args{.x = x.const_data_ptr(),
                               .weight = weight.const_data_ptr(),
                               .grad_y = grad_y.const_data_ptr(),
                               .rstd = rstd.const_data_ptr<float>(),
                               .grad_x = grad_x.mutable_data_ptr(),
                               .grad_weight = grad_weight.mutable_data_ptr(),
                               .partial = partial.mutable_data_ptr<float>(),
                               .tokens = x.size(0),
                               .hidden = x.size(1),
                               .unit_offset = context->saved_data["unit_offset"].toBool(),
                               .bf16 = x.scalar_type() == at::kBFloat16};
    PRUDENT_RUN_KERNEL(rms_norm_backward, args, x);
    return {grad_x, grad_weight, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, bool unit_offset) {
  check_kernel_dtype(x, "x");
  check_dims(x, "x", 2, "[tokens, hidden]");
  check_device(x, "x");
  check_same_dtype(weight, "weight", x);
  check_shape(weight, "weight", {x.size(1)});
  check_same_device(weight, "weight", x);
  return RmsNormNode::apply(x.contiguous(), weight.contiguous(), eps, unit_offset);
}

}  // namespace prudent::kernels
