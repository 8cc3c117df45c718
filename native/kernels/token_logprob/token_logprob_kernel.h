// What the CPU version of token_logprob takes: a chunk of logits [tokens, columns] that covers the vocabulary from `first` on,
// and the running state of each token's softmax.
#pragma once

#include <cstdint>

#include "kernels/common/dispatch.h"

namespace prudent::kernels {

// Softmax of what has been seen so far: probability of logit l is exp(l - max) / sum.
struct SoftmaxState {
  float max, sum;
  float weighted;  // sum of exp(l - max) * (l - max), or of exp(p - max) * (p - q): see the kernels
  float target;    // the target's logit, once seen
};

struct LogitsChunk {
  void* logits;  // [tokens, columns] fp32 | bf16
  int64_t tokens, columns, first;
  const void* bias;  // [columns] of this chunk in the dtype of the logits, or null
  float inverse_temperature;
  bool bf16;
};

// Adds a chunk to the state.
struct LogprobAccumulate {
  LogitsChunk chunk;
  const int64_t* targets;  // [tokens]
  SoftmaxState* states;    // [tokens]
  bool want_entropy;
};

// slopes[t, v] = d loss / d logits = grad[t] * inverse_temperature * ([v == target] - softmax(v)).
struct LogprobGradient {
  LogitsChunk chunk;
  void* slopes;             // [tokens, columns] in the dtype of the logits; may be the logits themselves
  const int64_t* targets;   // [tokens]
  const float* logsumexps;  // [tokens]
  const float* grad;        // [tokens]
};

// states of p with weighted = sum of exp(p - max) * (p - q), and of q.
struct KlAccumulate {
  LogitsChunk p, q;
  SoftmaxState *p_states, *q_states;  // [tokens]
};

PRUDENT_DECLARE_CPU_KERNEL(logprob_accumulate, LogprobAccumulate)
PRUDENT_DECLARE_CPU_KERNEL(logprob_gradient, LogprobGradient)
PRUDENT_DECLARE_CPU_KERNEL(kl_accumulate, KlAccumulate)

}  // namespace prudent::kernels
