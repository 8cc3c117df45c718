#include "training/rollout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include "core/error.h"
#include "kernels/token_logprob/token_logprob.h"
#include "training/inference.h"
#include "training/prediction_batch.h"
#include "training/stopwatch.h"

namespace prudent::training {
namespace {

struct Parts {
  std::vector<at::Tensor> logprobs, values, ref_logprobs, kl;
};

void evaluate(const models::Model& policy, const models::Model& reference, const PredictionBatch& batch, bool exact_kl,
              Parts& parts) {
  const at::Tensor hidden = predicting_hidden(policy, batch);
  const at::Tensor ref_hidden = predicting_hidden(reference, batch);
  parts.logprobs.push_back(kernels::token_logprob(hidden, policy.lm_weight(), std::nullopt, batch.targets, false).logprobs);
  parts.values.push_back(policy.values(hidden));
  parts.ref_logprobs.push_back(
      kernels::token_logprob(ref_hidden, reference.lm_weight(), std::nullopt, batch.targets, false).logprobs);
  if (exact_kl) parts.kl.push_back(kernels::token_kl(hidden, policy.lm_weight(), ref_hidden, reference.lm_weight()));
}

std::shared_ptr<Rollout> evaluated(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                   TokenRows responses, const RolloutOptions& options, const Job& job) {
  const Stopwatch stopwatch;
  auto rollout = std::make_shared<Rollout>();
  rollout->prompts = prompts;
  rollout->responses = std::move(responses);
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
  rollout->forward_seconds = stopwatch.seconds();
  return rollout;
}

void check_value_head(const models::Model& policy) {
  PRUDENT_CHECK(policy.has_value_head(), "E_NO_HEAD", "policy", "a model with a value head", "none");
}

}  // namespace

std::shared_ptr<const Rollout> evaluate_responses(const models::Model& policy, const models::Model& reference,
                                                  const TokenRows& prompts, const TokenRows& responses,
                                                  const RolloutOptions& options, const Job& job) {
  check_value_head(policy);
  const c10::NoGradGuard no_grad;
  check_rows(prompts, policy.config(), "prompts");
  check_rows(responses, policy.config(), "responses");
  return evaluated(policy, reference, prompts, responses, options, job);
}

std::shared_ptr<const Rollout> make_rollout(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                            const RolloutOptions& options, const Job& job) {
  check_value_head(policy);
  const c10::NoGradGuard no_grad;
  const Stopwatch stopwatch;
  TokenRows responses = generate_rows(policy, prompts, options.row_keys, options.generate, options.batch_tokens, job);
  const double generate_seconds = stopwatch.seconds();
  const auto rollout = evaluated(policy, reference, prompts, std::move(responses), options, job);
  rollout->generate_seconds = generate_seconds;
  return rollout;
}

}  // namespace prudent::training
