// LM head matmul + log-softmax + gather (+ entropy) without a [tokens, vocab] tensor that outlives a chunk.
//   logits[t] = weight . hidden[t];  logprobs[t] = logits[t, target[t]] - logsumexp(logits[t])
//   entropy[t] = -sum_v p_v log p_v
// The vocabulary is cut into chunks; backward computes each chunk's logits again, unless all of them together are small. On the
// CPU that takes 16 MiB beside inputs and gradients, where logits as a whole, their log-softmax and its gradient take three times
// 257 MB for 1280 tokens of GPT-2's vocabulary. The weight's own gradient, 154 MB there, is part of a training step's state
// (gradient_sums.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace prudent::kernels {

struct TokenLogprob {
  at::Tensor logprobs;  // [tokens] fp32
  at::Tensor entropy;   // [tokens] fp32, undefined unless asked for; not differentiable
};

// hidden [tokens, hidden], weight [vocab, hidden] of one dtype, bias [vocab] or none, targets [tokens] int64 in [0, vocab).
// `temperature` divides the logits. Differentiable in hidden, weight and bias (logprobs only).
TokenLogprob token_logprob(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           const at::Tensor& targets, bool want_entropy, double temperature = 1.0);
TokenLogprob token_logprob_reference(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                                     const at::Tensor& targets, bool want_entropy, double temperature = 1.0);

// Exact KL per token, summed over the vocabulary: sum_v p_v (log p_v - log q_v), p from (hidden, weight), q from the
// reference pair -> [tokens] fp32. No gradient.
at::Tensor token_kl(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& ref_hidden,
                    const at::Tensor& ref_weight);
at::Tensor token_kl_reference(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& ref_hidden,
                              const at::Tensor& ref_weight);

}  // namespace prudent::kernels
