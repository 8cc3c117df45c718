#include "kernels/layer_norm/layer_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/layer_norm/layer_norm_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LayerNormNode : torch::autograd::Function<LayerNormNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                            double eps) {
    const at::Tensor y = at::empty_like(x);
    const at::Tensor statistics = at::empty({2, x.size(0)}, x.options().dtype(at::kFloat));  // mean, rstd
    const LayerNormForward args{.x = x.const_data_ptr(),
                                .weight = weight.const_data_ptr(),
                                .bias = bias.const_data_ptr(),
                                .y = y.mutable_data_ptr(),
                                .mean = statistics.mutable_data_ptr<float>(),
                                .rstd = statistics.mutable_data_ptr<float>() + x.size(0),
                                .tokens = x.size(0),
                                .hidden = x.size(1),
                                .eps = static_cast<float>(eps),
                                .bf16 = x.scalar_type() == at::kBFloat16};
    if (x.numel() > 0) PRUDENT_RUN_KERNEL(layer_norm_forward, args, x);
    context->save_for_backward({x, weight, statistics});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &statistics = saved[2];
    const at::Tensor grad_y = grads[0].contiguous();
    const at::Tensor grad_x = at::empty_like(x), grad_weight = at::empty_like(weight), grad_bias = at::empty_like(weight);
    const int64_t block = runs_cuda_kernels(x) ? kLayerNormCudaBlock : kLayerNormBlock;
    const int64_t blocks = (x.size(0) + block - 1) / block;
    const at::Tensor partial = at::empty({blocks, 2, x.size(1)}, statistics.options());
    const LayerNormBackward args{.x = x.const_data_ptr(),
                                 .weight = weight.const_data_ptr(),
                                 .grad_y = grad_y.const_data_ptr(),
                                 .mean = statistics.const_data_ptr<float>(),
                                 .rstd = statistics.const_data_ptr<float>() + x.size(0),
                                 .grad_x = grad_x.mutable_data_ptr(),
                                 .grad_weight = grad_weight.mutable_data_ptr(),
                                 .grad_bias = grad_bias.mutable_data_ptr(),
                                 .partial = partial.mutable_data_ptr<float>(),
                                 .tokens = x.size(0),
                                 .hidden = x.size(1),
                                 .bf16 = x.scalar_type() == at::kBFloat16};
    PRUDENT_RUN_KERNEL(layer_norm_backward, args, x);
    return {grad_x, grad_weight, grad_bias, at::Tensor()};
  }
};

}  // namespace

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  check_kernel_dtype(x, "x");
  check_dims(x, "x", 2, "[tokens, hidden]");
  check_device(x, "x");
  for (const auto& [tensor, name] : {std::pair(&weight, "weight"), std::pair(&bias, "bias")}) {
    check_same_dtype(*tensor, name, x);
    check_shape(*tensor, name, {x.size(1)});
    check_same_device(*tensor, name, x);
  }
  return LayerNormNode::apply(x.contiguous(), weight.contiguous(), bias.contiguous(), eps);
}

}  // namespace prudent::kernels
