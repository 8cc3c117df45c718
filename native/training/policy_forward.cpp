#include "training/policy_forward.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "kernels/token_logprob/token_logprob.h"

namespace prudent::training {
namespace {

std::vector<uint32_t> versions_of(const models::Model& model) {
  std::vector<uint32_t> versions;
  for (const auto& [name, parameter] : model.parameters()) versions.push_back(static_cast<uint32_t>(parameter._version()));
  return versions;
}

}  // namespace

PolicyForward policy_forward(const models::Model& policy, const PredictionBatch& batch, bool want_entropy,
                             const models::Checkpointing& checkpoint) {
  const at::Tensor hidden = predicting_hidden(policy, batch, checkpoint);
  const kernels::TokenLogprob out = kernels::token_logprob(hidden, policy.lm_weight(), std::nullopt, batch.targets, want_entropy);
  return {per_predicted(batch, hidden), per_predicted(batch, out.logprobs), per_predicted(batch, policy.values(hidden)),
          want_entropy ? per_predicted(batch, out.entropy) : out.entropy};
}

HeldForward::HeldForward(const models::Model& policy, const PredictionBatch& batch, std::vector<int64_t> rows,
                         const models::Checkpointing& checkpoint)
    : policy_(&policy), rows_(std::move(rows)), versions_(versions_of(policy)) {
  const c10::AutoGradMode with_grad(true);
  forward_ = policy_forward(policy, batch, /*want_entropy=*/true, checkpoint);
}

std::optional<PolicyForward> HeldForward::take(const models::Model& policy, const std::vector<int64_t>& rows) {
  if (&policy != policy_ || rows != rows_ || !forward_.logprobs.defined()) return std::nullopt;
  PolicyForward forward = std::exchange(forward_, {});
  if (versions_ != versions_of(policy)) return std::nullopt;
  return forward;
}

}  // namespace prudent::training
