// What the CPU and CUDA versions of token_logprob take: a chunk of logits [tokens, columns] that covers the vocabulary from
// `first` on, and the running state of each token's softmax.
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
  void* logits;  // [tokens, columns] fp32 | bf16, tokens apart by `stride` items
  int64_t tokens, columns, stride, first;
  const void* bias;  // [columns] of this chunk in the dtype of the logits, or null
  float inverse_temperature;
  bool bf16;
};

// Adds a chunk to the state; the vocabulary's first chunk makes it.
struct LogprobAccumulate {
  LogitsChunk chunk;
  const int64_t* targets;  // [tokens]
  SoftmaxState* states;    // [tokens]
  bool want_entropy;
};

struct LogprobFinish {
  const SoftmaxState* states;    // [tokens]
  float *logprobs, *logsumexps;  // [tokens]
  float* entropy;                // [tokens] or null
  int64_t tokens;
};

// slopes[t, v] = d loss / d logits = grad[t] * inverse_temperature * ([v == target] - softmax(v)). What lies between the rows of
// the slopes becomes 0: a matrix product may read it and multiply it with zeros, which makes NaN of whatever was there.
struct LogprobGradient {
  LogitsChunk chunk;
  void* slopes;             // laid out and typed as the logits; may be the logits themselves
  const int64_t* targets;   // [tokens]
  const float* logsumexps;  // [tokens]
  const float* grad;        // [tokens]
};

// states of p with weighted = sum of exp(p - max) * (p - q), and of q.
struct KlAccumulate {
  LogitsChunk p, q;
  SoftmaxState *p_states, *q_states;  // [tokens]
};

struct KlFinish {
  const SoftmaxState *p_states, *q_states;  // [tokens]
  float* kl;                                // [tokens]
  int64_t tokens;
};

PRUDENT_DECLARE_CPU_KERNEL(logprob_accumulate, LogprobAccumulate)
PRUDENT_DECLARE_CPU_KERNEL(logprob_gradient, LogprobGradient)
PRUDENT_DECLARE_CPU_KERNEL(kl_accumulate, KlAccumulate)
PRUDENT_DECLARE_CPU_KERNEL(logprob_finish, LogprobFinish)
PRUDENT_DECLARE_CPU_KERNEL(kl_finish, KlFinish)
void logprob_accumulate_cuda(const LogprobAccumulate& args, void* stream);
void logprob_gradient_cuda(const LogprobGradient& args, void* stream);
void kl_accumulate_cuda(const KlAccumulate& args, void* stream);
void logprob_finish_cuda(const LogprobFinish& args, void* stream);
void kl_finish_cuda(const KlFinish& args, void* stream);

}  // namespace prudent::kernels
