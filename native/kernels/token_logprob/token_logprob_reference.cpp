#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>

#include "kernels/token_logprob/token_logprob.h"

namespace prudent::kernels {

namespace {

at::Tensor log_probabilities(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             double temperature) {
  const at::ScalarType compute = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor logits = at::matmul(hidden, weight.t());
  if (bias) logits = logits + *bias;
  return at::log_softmax(logits.to(compute) / temperature, -1);
}

}  // namespace

TokenLogprob token_logprob_reference(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                                     const at::Tensor& targets, bool want_entropy, double temperature) {
  const at::Tensor all = log_probabilities(hidden, weight, bias, temperature);
  TokenLogprob out;
  out.logprobs = all.gather(1, targets.unsqueeze(1)).squeeze(1);
  if (want_entropy) {
    const at::Tensor constant = all.detach();
    out.entropy = -(constant.exp() * constant).sum(-1);
  }
  return out;
}

at::Tensor token_kl_reference(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& ref_hidden,
                              const at::Tensor& ref_weight) {
  const at::Tensor p = log_probabilities(hidden.detach(), weight.detach(), std::nullopt, 1.0);
  const at::Tensor q = log_probabilities(ref_hidden.detach(), ref_weight.detach(), std::nullopt, 1.0);
  return (p.exp() * (p - q)).sum(-1);
}

}  // namespace prudent::kernels
