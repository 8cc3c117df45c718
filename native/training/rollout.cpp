#include "training/rollout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <optional>
#include <utility>

#include "core/error.h"
#include "kernels/token_logprob/token_logprob.h"
#include "training/inference.h"
#include "training/prediction_batch.h"
#include "training/prediction_plan.h"
#include "training/stopwatch.h"

namespace prudent::training {
namespace {

struct Parts {
  std::vector<at::Tensor> logprobs, values, ref_logprobs, kl;
};

struct Pair {
  const models::Model &policy, &reference;
};

// The reference first: its activations are gone before the policy's graph, when that is kept, is built. A policy whose part is
// known from sampling runs for the exact KL alone.
// `hold`: the rows of the batch, when its forward is to be kept.
void evaluate(const Pair& models, const PredictionBatch& batch, const RolloutOptions& options,
              const std::optional<std::vector<int64_t>>& hold, Rollout& rollout, Parts& parts) {
  const at::Tensor ref_hidden = predicting_hidden(models.reference, batch), &ref_weight = models.reference.lm_weight();
  parts.ref_logprobs.push_back(kernels::token_logprob(ref_hidden, ref_weight, std::nullopt, batch.targets, false).logprobs);
  if (rollout.logprobs.defined() && !options.exact_kl) return;
  if (hold) rollout.held = std::make_shared<HeldForward>(models.policy, batch, *hold, options.checkpoint);
  const PolicyForward forward = hold ? rollout.held->forward() : policy_forward(models.policy, batch, /*want_entropy=*/false);
  parts.logprobs.push_back(forward.logprobs.detach());
  parts.values.push_back(forward.values.detach());
  if (options.exact_kl) parts.kl.push_back(kernels::token_kl(forward.hidden, models.policy.lm_weight(), ref_hidden, ref_weight));
}

// Fills in what generation has left open.
std::shared_ptr<Rollout> complete(std::shared_ptr<Rollout> rollout, const Pair& models, const RolloutOptions& options,
                                  const Job& job) {
  const Stopwatch stopwatch;
  const TokenRows rows = concatenate_rows(rollout->prompts, rollout->responses);
  const SharedPart share = options.share_prefixes ? SharedPart::Prompts : SharedPart::None;
  const PredictionPlan plan(rows, rollout->prompts.lengths, row_range(0, rows.rows()), options.batch_tokens, share);
  const bool hold = plan.batches().size() == 1 && plan.computed_tokens() <= options.hold_tokens;
  Parts parts;
  for (const auto& range : plan.batches()) {
    job.poll();
    evaluate(models, plan.pack(models.policy, range), options, hold ? std::make_optional(plan.rows_of(range)) : std::nullopt,
             *rollout, parts);
  }
  const auto by_row = [&](const std::vector<at::Tensor>& by_place) { return plan.in_row_order(at::cat(by_place)); };
  rollout->ref_logprobs = by_row(parts.ref_logprobs);
  if (!rollout->logprobs.defined()) {
    rollout->logprobs = by_row(parts.logprobs);
    rollout->values = by_row(parts.values);
  }
  rollout->kl_sums = row_sums(rollout->logprobs - rollout->ref_logprobs, rollout->responses.lengths);
  if (options.exact_kl) {
    rollout->kl_per_token = by_row(parts.kl);
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
  auto rollout = std::make_shared<Rollout>();
  rollout->prompts = prompts;
  rollout->responses = responses;
  return complete(std::move(rollout), {policy, reference}, options, job);
}

std::shared_ptr<const Rollout> make_rollout(const models::Model& policy, const models::Model& reference, const TokenRows& prompts,
                                            const RolloutOptions& options, const Job& job) {
  check_value_head(policy);
  const c10::NoGradGuard no_grad;
  const Stopwatch stopwatch;
  models::GenerateOptions generate = options.generate;
  generate.record = options.from_sampling;
  models::Generated generated = generate_responses(policy, prompts, options.row_keys, generate, options.batch_tokens, job);
  auto rollout = std::make_shared<Rollout>();
  rollout->prompts = prompts;
  rollout->responses = {std::move(generated.ids), std::move(generated.lengths)};
  if (options.from_sampling) {
    rollout->logprobs = at::tensor(generated.logprobs, at::kFloat).to(policy.device());
    rollout->values = at::tensor(generated.values, at::kFloat).to(policy.device());
  }
  rollout->generate_seconds = stopwatch.seconds();
  return complete(std::move(rollout), {policy, reference}, options, job);
}

}  // namespace prudent::training
