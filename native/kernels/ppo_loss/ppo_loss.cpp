#include "kernels/ppo_loss/ppo_loss.h"

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/check.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Arguments {
  const at::Tensor &old_logprobs, &old_values, &advantages, &returns, &response_lengths;
  const PpoLossOptions& options;
  PpoLossStats* stats;
};

// The forward pass already knows the gradient; backward scales it.
struct PpoLossNode : torch::autograd::Function<PpoLossNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logprobs, const at::Tensor& values, const Arguments* rest) {
    const PpoLoss result = ppo_loss(logprobs, values, rest->old_logprobs, rest->old_values, rest->advantages, rest->returns,
                                    rest->response_lengths, rest->options);
    context->save_for_backward({result.grad_logprobs, result.grad_values});
    if (rest->stats != nullptr) *rest->stats = result.stats;
    return result.loss;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    return {grads[0] * saved[0], grads[0] * saved[1], at::Tensor()};
  }
};

void check_token_array(const at::Tensor& tensor, const char* argument, const at::Tensor& like) {
  check_dtype(tensor, argument, at::kFloat);
  check_shape(tensor, argument, {like.size(0), like.size(1)});
  check_same_device(tensor, argument, like);
}

}  // namespace

PpoLoss ppo_loss(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs, const at::Tensor& old_values,
                 const at::Tensor& advantages, const at::Tensor& returns, const at::Tensor& response_lengths,
                 const PpoLossOptions& options) {
  check_dtype(logprobs, "logprobs", at::kFloat);
  check_dims(logprobs, "logprobs", 2, "[batch, time]");
  PRUDENT_CHECK(logprobs.numel() > 0, "E_SHAPE", "logprobs", "at least one token", describe(logprobs));
  check_token_array(values, "values", logprobs);
  check_token_array(old_logprobs, "old_logprobs", logprobs);
  check_token_array(old_values, "old_values", logprobs);
  check_token_array(advantages, "advantages", logprobs);
  check_token_array(returns, "returns", logprobs);
  check_dtype(response_lengths, "response_lengths", at::kInt);
  check_shape(response_lengths, "response_lengths", {logprobs.size(0)});
  check_same_device(response_lengths, "response_lengths", logprobs);
  check_range(response_lengths, "response_lengths", 1, logprobs.size(1));
  return ppo_loss_reference(logprobs, values, old_logprobs, old_values, advantages, returns, response_lengths, options);
}

at::Tensor ppo_loss_node(const at::Tensor& logprobs, const at::Tensor& values, const at::Tensor& old_logprobs,
                         const at::Tensor& old_values, const at::Tensor& advantages, const at::Tensor& returns,
                         const at::Tensor& response_lengths, const PpoLossOptions& options, PpoLossStats* stats) {
  const Arguments rest{old_logprobs, old_values, advantages, returns, response_lengths, options, stats};
  return PpoLossNode::apply(logprobs, values, &rest);
}

}  // namespace prudent::kernels
