#include "training/rollout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <chrono>

#include "core/error.h"
#include "kernels/token_logprob/token_logprob.h"
#include "training/inference.h"
#include "training/prediction_batch.h"

namespace prudent::training {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Parts {
  std::vector<at::Tensor> logprobs, values, ref_logprobs, kl;
};

void evaluate(const models::Model& policy, const models::Model& reference, const PredictionBatch& batch, bool exact_kl, Parts& parts) {
  const at::Tensor hidden = predicting_hidden(policy, batch);
  const at::Tensor ref_hidden = predicting_hidden(reference, batch);
  parts.logprobs.push_back(kernels::token_logprob(hidden, policy.lm_weight(), std::nullopt, batch.targets, false).logprobs);
  parts.values.push_back(policy.values(hidden));
  parts.ref_logprobs.push_back(kernels::token_logprob(ref_hidden, reference.lm_weight(), std::nullopt, batch.targets, false).logprobs);
  if (exact_kl) parts.kl.push_back(kernels::token_kl(hidden, policy.lm_weight(), ref_hidden, reference.lm_weight()));
}

}  // namespace

std::shared_ptr<const Rollout> make_rollout(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                            const RolloutOptions& options, const Job& job) {
  PRUDENT_CHECK(policy.has_value_head(), "E_NO_HEAD", "policy", "a model with a value head", "none");
  const c10::NoGradGuard no_grad;
  auto rollout = std::make_shared<Rollout>();
  const auto generate_start = std::chrono::steady_clock::now();
  rollout->prompts = prompts;
  rollout->responses = generate_rows(policy, prompts, options.row_keys, options.generate, options.batch_tokens, job);
  rollout->generate_seconds = seconds_since(generate_start);

  const auto forward_start = std::chrono::steady_clock::now();
  const TokenRows rows = concatenate_rows(rollout->prompts, rollout->responses);
  Parts parts;
  for (const auto& [first, last] : micro_batches(rows.lengths, options.batch_tokens, "batchTokens")) {
    job.poll();
    const PredictionBatch batch = pack_predictions(policy, rows, rollout->prompts.lengths, row_range(first, last));
    evaluate(policy, reference, batch, options.exact_kl, parts);
  }
  rollout->logprobs = at::cat(parts.logprobs);
  rollout->values = at::cat(parts.values);
  rollout->ref_logprobs = at::cat(parts.ref_logprobs);
  rollout->kl_sums = row_sums(rollout->logprobs - rollout->ref_logprobs, rollout->responses.lengths);
  if (options.exact_kl) {
    rollout->kl_per_token = at::cat(parts.kl);
    rollout->exact_kl_sums = row_sums(rollout->kl_per_token, rollout->responses.lengths);
  }
  rollout->forward_seconds = seconds_since(forward_start);
  return rollout;
}

}  // namespace prudent::training
