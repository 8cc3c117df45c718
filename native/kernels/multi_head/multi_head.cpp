#include "kernels/multi_head/multi_head.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/multi_head/multi_head_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct MultiHeadNode : torch::autograd::Function<MultiHeadNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& index,
                            const at::Tensor& weight) {
    context->save_for_backward({hidden, index, weight});
    const at::Tensor scores = at::empty({index.size(0), weight.size(0)}, hidden.options().dtype(at::kFloat));
    const MultiHeadForward args{.hidden = hidden.const_data_ptr(),
                                .index = index.const_data_ptr<int64_t>(),
                                .weight = weight.const_data_ptr(),
                                .scores = scores.mutable_data_ptr<float>(),
                                .rows = index.size(0),
                                .heads = weight.size(0),
                                .size = hidden.size(1),
                                .hidden_bf16 = hidden.scalar_type() == at::kBFloat16,
                                .weight_bf16 = weight.scalar_type() == at::kBFloat16};
    if (scores.numel() > 0) PRUDENT_RUN_KERNEL(multi_head_forward, args, hidden);
    return scores;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &index = saved[1], &weight = saved[2];
    const at::Tensor grad_scores = grads[0].contiguous();
    at::Tensor grad_hidden, grad_weight;
    if (context->needs_input_grad(0)) grad_hidden = at::zeros(hidden.sizes(), grad_scores.options());
    if (context->needs_input_grad(2)) grad_weight = at::empty(weight.sizes(), grad_scores.options());
    const MultiHeadBackward args{.hidden = hidden.const_data_ptr(),
                                 .index = index.const_data_ptr<int64_t>(),
                                 .weight = weight.const_data_ptr(),
                                 .grad_scores = grad_scores.const_data_ptr<float>(),
                                 .grad_hidden = grad_hidden.defined() ? grad_hidden.mutable_data_ptr<float>() : nullptr,
                                 .grad_weight = grad_weight.defined() ? grad_weight.mutable_data_ptr<float>() : nullptr,
                                 .rows = index.size(0),
                                 .heads = weight.size(0),
                                 .size = hidden.size(1),
                                 .hidden_bf16 = hidden.scalar_type() == at::kBFloat16,
                                 .weight_bf16 = weight.scalar_type() == at::kBFloat16};
    PRUDENT_RUN_KERNEL(multi_head_backward, args, hidden);
    if (grad_hidden.defined()) grad_hidden = grad_hidden.to(hidden.scalar_type());
    if (grad_weight.defined()) grad_weight = grad_weight.to(weight.scalar_type());
    return {grad_hidden, at::Tensor(), grad_weight};
  }
};

}  // namespace

at::Tensor multi_head(const at::Tensor& hidden, const at::Tensor& index, const at::Tensor& weight) {
  check_kernel_dtype(hidden, "hidden");
  check_dims(hidden, "hidden", 2, "[tokens, hidden]");
  check_device(hidden, "hidden");
  check_dtype(index, "index", at::kLong);
  check_dims(index, "index", 1, "[rows]");
  check_kernel_dtype(weight, "weight");
  check_dims(weight, "weight", 2, "[heads, hidden]");
  check_shape(weight, "weight", {weight.size(0), hidden.size(1)});
  PRUDENT_CHECK(weight.numel() > 0, "E_SHAPE", "weight", "at least one head", describe(weight));
  check_same_device(index, "index", hidden);
  check_same_device(weight, "weight", hidden);
  check_range(index, "index", 0, hidden.size(0) - 1);
  return MultiHeadNode::apply(hidden.contiguous(), index.contiguous(), weight.contiguous());
}

}  // namespace prudent::kernels
