// Experience of one PPO step: prompts, sampled responses, and what policy and reference said about them at that time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/job.h"
#include "models/generation.h"
#include "models/model.h"
#include "training/token_rows.h"

namespace prudent::training {

struct RolloutOptions {
  models::GenerateOptions generate;
  std::vector<int64_t> row_keys;  // [rows], or empty for 0, 1, 2 …
  int64_t batch_tokens = 16384;
  bool exact_kl = false;  // also sum the KL over the vocabulary
};

// Per-token tensors hold response tokens only, rows end to end: [response tokens] fp32 on the policy's device.
struct Rollout {
  TokenRows prompts;
  TokenRows responses;               // EOS kept when it was drawn
  at::Tensor logprobs;               // policy, evaluation mode
  at::Tensor values;                 // value head at the position that predicts the token
  at::Tensor ref_logprobs;           // reference
  at::Tensor kl_per_token;           // exact over the vocabulary; undefined unless asked for
  std::vector<float> kl_sums;        // [rows] sum over response tokens of logprob - ref logprob
  std::vector<float> exact_kl_sums;  // [rows], empty unless asked for
  double generate_seconds = 0;
  double forward_seconds = 0;
};

// What both models say of given responses, without generating anything; only batch_tokens and exact_kl of the options count.
// E_NO_HEAD unless the policy has a value head.
std::shared_ptr<const Rollout> evaluate_responses(const models::Model& policy, const models::Model& reference,
                                                  const TokenRows& prompts, const TokenRows& responses,
                                                  const RolloutOptions& options, const Job& job);

// Sample responses, then evaluate them.
std::shared_ptr<const Rollout> make_rollout(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                            const RolloutOptions& options, const Job& job);

}  // namespace prudent::training
