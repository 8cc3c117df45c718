#include "kernels/gated_linear/gated_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "kernels/common/autograd.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/int8_weights.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packed_weights.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GatedLinearNode : torch::autograd::Function<GatedLinearNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up,
                            const std::optional<at::Tensor>& gate_bias, const std::optional<at::Tensor>& up_bias,
                            int64_t activation, bool differentiable) {
    at::Tensor saved_gate, saved_up;
    MatmulEpilogue epilogue{.bias = value_of(up_bias),
                            .activation = static_cast<Activation>(activation),
                            .gate = gate.t(),
                            .gate_bias = value_of(gate_bias),
                            .keep_weights = !differentiable};
    if (differentiable) {
      epilogue.saved = &saved_up;
      epilogue.saved_gate = &saved_gate;
    }
    const at::Tensor y = kernels::matmul(x, up.t(), epilogue);
    if (differentiable) context->save_for_backward({x, gate, up, saved_gate, saved_up});
    context->saved_data["activation"] = activation;
    context->saved_data["has_gate_bias"] = gate_bias.has_value();
    context->saved_data["has_up_bias"] = up_bias.has_value();
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &gate = saved[1], &up = saved[2];
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const auto [slope_gate, slope_up] = geglu_gradients(saved[3], saved[4], grads[0].contiguous(), activation);
    variable_list out(7);
    if (context->needs_input_grad(0)) {
      MatmulEpilogue sum;
      sum.residual = input_gradient(slope_gate, gate, WeightLayout::OutIn);
      out[0] = kernels::matmul(slope_up, up, sum);
    }
    if (context->needs_input_grad(1)) out[1] = weight_gradient(gate, x, slope_gate, WeightLayout::OutIn);
    if (context->needs_input_grad(2)) out[2] = weight_gradient(up, x, slope_up, WeightLayout::OutIn);
    // What is asked of inputs counts those that are there.
    const bool has_gate_bias = context->saved_data["has_gate_bias"].toBool();
    const bool has_up_bias = context->saved_data["has_up_bias"].toBool();
    if (has_gate_bias && context->needs_input_grad(3)) out[3] = bias_gradient(slope_gate);
    if (has_up_bias && context->needs_input_grad(has_gate_bias ? 4 : 3)) out[4] = bias_gradient(slope_up);
    return out;
  }
};

}  // namespace

at::Tensor gated_linear(const at::Tensor& x, const GatedWeights& weights, Activation activation) {
  if (weights.int8 != nullptr) {
    check_not_differentiated({x, weights.gate_bias, weights.up_bias});
    return matmul_int8(x, *weights.int8, {.bias = weights.up_bias, .activation = activation, .gate_bias = weights.gate_bias});
  }
  if (!matmul_is_ours(x)) {
    return geglu(linear(x, weights.gate, {.bias = weights.gate_bias}), linear(x, weights.up, {.bias = weights.up_bias}),
                 activation);
  }
  if (is_differentiated({weights.up, weights.gate})) {
    forget_packed_weights(weights.up);
    forget_packed_weights(weights.gate);
  }
  return GatedLinearNode::apply(x, weights.gate, weights.up, optional_of(weights.gate_bias), optional_of(weights.up_bias),
                                static_cast<int64_t>(activation),
                                is_differentiated({x, weights.gate, weights.up, weights.gate_bias, weights.up_bias}));
}

at::Tensor gated_feed_forward(const at::Tensor& x, const GatedWeights& weights, Activation activation,
                              const DownProjection& down) {
  const bool differentiated =
      is_differentiated({x, weights.gate, weights.up, weights.gate_bias, weights.up_bias, down.weight, down.bias, down.residual});
  if (differentiated || weights.int8 != nullptr || !matmul_is_ours(x)) {
    return linear(gated_linear(x, weights, activation), down.weight,
                  {.bias = down.bias, .residual = down.residual, .int8 = down.int8, .value_is_read = down.value_is_read});
  }
  const MatmulEpilogue gated{.bias = weights.up_bias,
                             .activation = activation,
                             .gate = weights.gate.t(),
                             .gate_bias = weights.gate_bias,
                             .keep_weights = true};
  return matmul_after_gated(x, {weights.up.t(), gated}, down.weight.t(),
                            {.bias = down.bias, .residual = down.residual, .keep_weights = true});
}

}  // namespace prudent::kernels
