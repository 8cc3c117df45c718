// Experience of one PPO step: prompts, sampled responses, and what policy and reference said about them at that time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/job.h"
#include "models/generation.h"
#include "models/model.h"
#include "training/policy_forward.h"
#include "training/token_rows.h"

namespace prudent::training {

struct RolloutOptions {
  models::GenerateOptions generate;
  std::vector<int64_t> row_keys;  // [rows], or empty for 0, 1, 2 …
  int64_t batch_tokens = 16384;
  bool exact_kl = false;  // also sum the KL over the vocabulary
  // Take the policy's log-probs and values from the sampling itself, without a forward over the finished responses. They agree
  // with that forward up to rounding (other batch shapes, another order of additions).
  bool from_sampling = false;
  // Keep the policy's forward with its graph in the rollout, when one batch of at most so many tokens holds all rows; see
  // HeldForward.
  int64_t hold_tokens = 0;
  bool share_prefixes = true;        // what prompts have in common at their beginning is computed once
  models::Checkpointing checkpoint;  // of the forward that is held
};

// Per-token tensors hold response tokens only, rows end to end: [response tokens] fp32 on the policy's device.
struct Rollout {
  TokenRows prompts;
  TokenRows responses;                // EOS kept when it was drawn
  at::Tensor logprobs;                // policy, at temperature 1 over the whole vocabulary
  at::Tensor values;                  // value head at the position that predicts the token
  at::Tensor ref_logprobs;            // reference
  at::Tensor kl_per_token;            // exact over the vocabulary; undefined unless asked for
  std::vector<float> kl_sums;         // [rows] sum over response tokens of logprob - ref logprob
  std::vector<float> exact_kl_sums;   // [rows], empty unless asked for
  std::shared_ptr<HeldForward> held;  // or null; the first PPO step that this rollout is given to takes it
  double generate_seconds = 0;
  double forward_seconds = 0;
};

// What both models say of given responses, without generating anything; batch_tokens, exact_kl and hold_tokens of the options
// count.
// E_NO_HEAD unless the policy has a value head.
std::shared_ptr<const Rollout> evaluate_responses(const models::Model& policy, const models::Model& reference,
                                                  const TokenRows& prompts, const TokenRows& responses,
                                                  const RolloutOptions& options, const Job& job);

// Sample responses, then evaluate them.
std::shared_ptr<const Rollout> make_rollout(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                            const RolloutOptions& options, const Job& job);

}  // namespace prudent::training
