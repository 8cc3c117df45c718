// Forwards without gradients over any number of rows, in micro-batches of at most batch_tokens tokens, results in row order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/job.h"
#include "models/generation.h"
#include "models/model.h"
#include "training/rank_share.h"
#include "training/token_rows.h"

namespace prudent::training {

// [rows, num_labels] fp32 on the CPU, or what the model's readout gives, [rows, heads + spread]. E_NO_HEAD for a causal model.
// share_prefixes: what rows have in common at their beginning is computed once (row_plan.h). With a group each rank computes its
// part of the micro-batches, and all get all results.
at::Tensor score_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                      bool share_prefixes = true, const Group& group = nullptr);

// Hidden state at each row's last token, [rows, hidden] fp32 on the CPU; with several layers (HiddenOptions) side by side; a
// group as of score_rows.
at::Tensor feature_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                        bool share_prefixes = true, const std::vector<int64_t>& layers = {}, const Group& group = nullptr);

// How many tokens the forwards of score_rows and feature_rows compute.
int64_t computed_tokens(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, bool share_prefixes);

// Log-probability of every token after the first of each row: [sum(lengths) - rows] fp32 on the CPU, rows end to end. What rows
// share at their beginning is computed once, log-probabilities included.
at::Tensor logprob_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                        bool share_prefixes = true);

// Hidden states after the final norm, [sum(lengths), hidden] fp32 on the CPU.
at::Tensor hidden_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job);

// [sum(lengths), vocab] fp32 on the CPU.
at::Tensor logit_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job);

// As generate_rows, with what the options record.
models::Generated generate_responses(const models::Model& model, const TokenRows& prompts, const std::vector<int64_t>& row_keys,
                                     const models::GenerateOptions& options, int64_t batch_tokens, const Job& job);

// One response per prompt. row_keys [rows], or empty for 0, 1, 2 …; a row counts prompt + max_new_tokens toward batch_tokens.
TokenRows generate_rows(const models::Model& model, const TokenRows& prompts, const std::vector<int64_t>& row_keys,
                        const models::GenerateOptions& options, int64_t batch_tokens, const Job& job);

// Exact KL(policy || reference) of each row in nats, summed over its response tokens and the vocabulary -> [rows]. A row is
// prompt + response; prompt_lengths [rows], 1 <= prompt_lengths[r] < lengths[r] (E_SHAPE, E_RANGE naming `promptLengths`).
std::vector<float> exact_kl(const models::Model& policy, const models::Model& reference, const TokenRows& rows,
                            const std::vector<int32_t>& prompt_lengths, int64_t batch_tokens, const Job& job);

}  // namespace prudent::training
