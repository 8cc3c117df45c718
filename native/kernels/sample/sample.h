// Draw the next token of each row from its logits. Order as in transformers: temperature, top-k, top-p, softmax, draw.
// top-k keeps ties of the k-th logit; top-p keeps the smallest set of best tokens that holds top_p of the probability, at least
// one, lower ids first among equal logits.
// No gradient: a draw is not differentiable.
// The random number of a draw is philox(seed, row_key, position): it depends on no other row.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace prudent::kernels {

struct SampleOptions {
  bool greedy = false;
  double temperature = 1.0;  // > 0
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;        // 1: off; (0, 1]
  uint64_t seed = 0;
  // CUDA: the seed as [1] int64 in device memory, in place of `seed`, so that a recorded draw reads it anew; undefined: `seed`.
  at::Tensor device_seed;
};

// logits [rows, vocab] fp32 | bf16, row_keys [rows] int64 and positions [rows] int64, all on one device -> ids [rows] int64
// there. A row with NaN, +infinity or nothing finite is E_NON_FINITE; on CUDA its id is -1, and whoever copies the ids to the CPU
// hands them to check_sampled(). Greedy takes the lowest id among equal maxima.
// `logprobs`, when given, receives [rows] fp32: the log-softmax of the drawn token in the logits as they came, that is, at
// temperature 1 and over the whole vocabulary; NaN for a row that is E_NON_FINITE.
at::Tensor sample(const at::Tensor& logits, const at::Tensor& row_keys, const at::Tensor& positions, const SampleOptions& options,
                  at::Tensor* logprobs = nullptr);
void check_sampled(const at::Tensor& ids);
at::Tensor sample_reference(const at::Tensor& logits, const at::Tensor& row_keys, const at::Tensor& positions,
                            const SampleOptions& options, at::Tensor* logprobs = nullptr);

}  // namespace prudent::kernels
