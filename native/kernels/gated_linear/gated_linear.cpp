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

// What y = activation(gate) * up was made of, [tokens, intermediate]; without gradients.
struct Factors {
  at::Tensor gate, up;
};

struct GatedLinearNode : torch::autograd::Function<GatedLinearNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up,
                            const std::optional<at::Tensor>& gate_bias, const std::optional<at::Tensor>& up_bias,
                            int64_t activation, bool differentiable, Factors* factors) {
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
    if (factors != nullptr) *factors = {saved_gate, saved_up};
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
    variable_list out(8);
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

// The second projection. It keeps the factors of its input in place of the input itself: the first projection keeps them too, and
// their product is one pass over memory away.
struct DownNode : torch::autograd::Function<DownNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& y, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& residual,
                            const Factors* factors, int64_t activation, bool value_is_read) {
    context->save_for_backward({weight, factors->gate, factors->up});
    context->saved_data["activation"] = activation;
    context->saved_data["has_bias"] = bias.has_value();
    context->saved_data["has_residual"] = residual.has_value();
    if (!value_is_read) return at::empty({y.size(0), weight.size(0)}, y.options());
    if (matmul_is_ours(y)) return kernels::matmul(y, weight.t(), {.bias = value_of(bias), .residual = value_of(residual)});
    return linear_reference(y, weight, {.bias = value_of(bias), .residual = value_of(residual)});
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight = saved[0], &grad = grads[0];
    const bool has_bias = context->saved_data["has_bias"].toBool(), has_residual = context->saved_data["has_residual"].toBool();
    variable_list out(7);
    if (context->needs_input_grad(1)) {
      const at::Tensor y = geglu(saved[1], saved[2], static_cast<Activation>(context->saved_data["activation"].toInt()));
      out[1] = weight_gradient(weight, y, grad, WeightLayout::OutIn);
    }
    if (context->needs_input_grad(0)) out[0] = input_gradient(grad, weight, WeightLayout::OutIn);
    // What is asked of inputs counts those that are there.
    if (has_bias && context->needs_input_grad(2)) out[2] = bias_gradient(grad);
    if (has_residual && context->needs_input_grad(has_bias ? 3 : 2)) out[3] = grad;
    return out;
  }
};

// factors: receives them where the result is differentiable.
at::Tensor gated_product(const at::Tensor& x, const GatedWeights& weights, Activation activation, Factors* factors) {
  const bool differentiable = is_differentiated({x, weights.gate, weights.up, weights.gate_bias, weights.up_bias});
  if (!matmul_is_ours(x)) {
    const at::Tensor gate = linear(x, weights.gate, {.bias = weights.gate_bias});
    const at::Tensor up = linear(x, weights.up, {.bias = weights.up_bias});
    if (factors != nullptr && differentiable) *factors = {gate.detach(), up.detach()};
    return geglu(gate, up, activation);
  }
  if (is_differentiated({weights.up, weights.gate})) {
    forget_packed_weights(weights.up);
    forget_packed_weights(weights.gate);
  }
  return GatedLinearNode::apply(x, weights.gate, weights.up, optional_of(weights.gate_bias), optional_of(weights.up_bias),
                                static_cast<int64_t>(activation), differentiable, factors);
}

}  // namespace

at::Tensor gated_linear(const at::Tensor& x, const GatedWeights& weights, Activation activation) {
  if (weights.int8 != nullptr) {
    check_not_differentiated({x, weights.gate_bias, weights.up_bias});
    return matmul_int8(x, *weights.int8, {.bias = weights.up_bias, .activation = activation, .gate_bias = weights.gate_bias});
  }
  return gated_product(x, weights, activation, nullptr);
}

at::Tensor gated_feed_forward(const at::Tensor& x, const GatedWeights& weights, Activation activation,
                              const DownProjection& down) {
  const auto apart = [&](const at::Tensor& y) {
    return linear(y, down.weight,
                  {.bias = down.bias, .residual = down.residual, .int8 = down.int8, .value_is_read = down.value_is_read});
  };
  if (weights.int8 != nullptr) return apart(gated_linear(x, weights, activation));
  if (is_differentiated({x, weights.gate, weights.up, weights.gate_bias, weights.up_bias})) {
    Factors factors;
    const at::Tensor y = gated_product(x, weights, activation, &factors);
    forget_packed_weights(down.weight);
    return DownNode::apply(y, down.weight, optional_of(down.bias), optional_of(down.residual), &factors,
                           static_cast<int64_t>(activation), down.value_is_read);
  }
  if (!matmul_is_ours(x) || is_differentiated({down.weight, down.bias, down.residual})) {
    return apart(gated_linear(x, weights, activation));
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
