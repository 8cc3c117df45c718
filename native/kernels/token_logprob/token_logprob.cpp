#include "kernels/token_logprob/token_logprob.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

TokenLogprob token_logprob(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           const at::Tensor& targets, bool want_entropy, double temperature) {
  return token_logprob_reference(hidden, weight, bias, targets, want_entropy, temperature);
}

at::Tensor token_kl(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& ref_hidden, const at::Tensor& ref_weight) {
  return token_kl_reference(hidden, weight, ref_hidden, ref_weight);
}

}  // namespace prudent::kernels
