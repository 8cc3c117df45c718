#include "kernels/linear/linear.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/activation_backward/activation_backward.h"
#include "kernels/common/autograd.h"
#include "kernels/common/gradient_sums.h"
#include "kernels/matmul/int8_weights.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packed_weights.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kNoActivation = -1;

struct LinearNode : torch::autograd::Function<LinearNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& residual, int64_t activation,
                            int64_t layout, bool differentiable, bool value_is_read) {
    MatmulEpilogue epilogue{.bias = value_of(bias), .residual = value_of(residual), .keep_weights = !differentiable};
    at::Tensor saved;
    if (activation != kNoActivation) epilogue.activation = static_cast<Activation>(activation);
    if (activation != kNoActivation && differentiable) epilogue.saved = &saved;
    const at::Tensor right = as_right(weight, static_cast<WeightLayout>(layout));
    const bool skips = differentiable && !value_is_read && activation == kNoActivation;  // of an activation the backward reads u
    const at::Tensor y = skips ? at::empty({x.size(0), right.size(1)}, x.options()) : kernels::matmul(x, right, epilogue);
    if (differentiable) context->save_for_backward({x, weight, saved});
    context->saved_data["activation"] = activation;
    context->saved_data["layout"] = layout;
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["has_residual"] = residual.has_value();
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const auto layout = static_cast<WeightLayout>(context->saved_data["layout"].toInt());
    const int64_t activation = context->saved_data["activation"].toInt();
    const bool has_bias = context->saved_data["has_bias"].toBool(), has_residual = context->saved_data["has_residual"].toBool();
    // What is asked of inputs counts those that are there.
    const bool wants_bias = has_bias && context->needs_input_grad(2);
    const auto applied = activation == kNoActivation ? std::nullopt : std::optional(static_cast<Activation>(activation));
    const auto [slope, grad_bias] = activation_backward(grads[0], saved[2], applied, wants_bias);
    variable_list out(8);
    if (context->needs_input_grad(0)) out[0] = input_gradient(slope, saved[1], layout);
    if (context->needs_input_grad(1)) out[1] = weight_gradient(saved[1], saved[0], slope, layout);
    if (wants_bias) out[2] = grad_bias;
    if (has_residual && context->needs_input_grad(has_bias ? 3 : 2)) out[3] = grads[0];
    return out;
  }
};

}  // namespace

at::Tensor weight_gradient(const at::Tensor& weight, const at::Tensor& x, const at::Tensor& grad_y, WeightLayout layout) {
  return layout == WeightLayout::OutIn ? weight_gradient_product(weight, grad_y.t(), x)
                                       : weight_gradient_product(weight, x.t(), grad_y);
}

at::Tensor input_gradient(const at::Tensor& grad_y, const at::Tensor& weight, WeightLayout layout) {
  return kernels::matmul(grad_y, layout == WeightLayout::OutIn ? weight : weight.t());
}

at::Tensor bias_gradient(const at::Tensor& grad_y) { return activation_backward(grad_y, {}, std::nullopt, true).grad_bias; }

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const LinearOptions& options) {
  if (options.int8 != nullptr) {
    check_not_differentiated({x, options.bias, options.residual});
    return matmul_int8(x, *options.int8, {.bias = options.bias, .residual = options.residual, .activation = options.activation});
  }
  if (!matmul_is_ours(x)) return linear_reference(x, weight, options);
  if (is_differentiated({weight})) forget_packed_weights(weight);
  const int64_t activation = options.activation ? static_cast<int64_t>(*options.activation) : kNoActivation;
  return LinearNode::apply(x, weight, optional_of(options.bias), optional_of(options.residual), activation,
                           static_cast<int64_t>(options.layout), is_differentiated({x, weight, options.bias, options.residual}),
                           options.value_is_read);
}

}  // namespace prudent::kernels
