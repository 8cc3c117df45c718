#include "training/ppo_experience.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/transfer.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "training/prediction_plan.h"

namespace prudent::training {
namespace {

void check_per_row(const std::vector<float>& values, int64_t rows, const std::string& argument) {
  PRUDENT_CHECK(static_cast<int64_t>(values.size()) == rows, "E_SHAPE", argument,
                std::to_string(rows) + " values, one for each row", std::to_string(values.size()));
  for (size_t row = 0; row < values.size(); ++row) {
    PRUDENT_CHECK(std::isfinite(values[row]), "E_NON_FINITE", argument + "[" + std::to_string(row) + "]", "a finite number",
                  std::to_string(values[row]));
  }
}

std::vector<double> as_double(const std::vector<int32_t>& values) { return {values.begin(), values.end()}; }

}  // namespace

PpoExperience::PpoExperience(const models::Model& policy, const Rollout& rollout, const std::vector<float>& scores,
                             const std::vector<float>& kl_weights, const PpoTrainerOptions& options)
    : policy_(policy),
      rollout_(rollout),
      scores_(scores),
      kl_weights_(kl_weights),
      micro_batch_tokens_(options.micro_batch_tokens),
      share_prefixes_(options.share_prefixes),
      rows_(concatenate_rows(rollout.prompts, rollout.responses)),
      token_starts_(rollout.responses.offsets()) {
  const c10::NoGradGuard no_grad;
  const int64_t rows = rows_.rows();
  check_per_row(scores, rows, "scores");
  check_per_row(kl_weights, rows, "klWeights");
  for (size_t row = 0; row < kl_weights.size(); ++row) {
    PRUDENT_CHECK(kl_weights[row] >= 0, "E_RANGE", "klWeights[" + std::to_string(row) + "]", "a number >= 0",
                  std::to_string(kl_weights[row]));
  }
  const bool full = options.kl_estimator == kernels::KlEstimator::Full;
  PRUDENT_CHECK(!full || rollout.kl_per_token.defined(), "E_RANGE", "rollout", "one with the exact KL (klEstimator is full)",
                "one without");

  // The kernel works on [rows, time]; slot[k] is the place there of response token k.
  const std::vector<int32_t>& lengths = rollout.responses.lengths;
  const int64_t time = *std::max_element(lengths.begin(), lengths.end());
  std::vector<int64_t> slots;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t t = 0; t < lengths[row]; ++t) slots.push_back(row * time + t);
  }
  const at::Device device = rollout.logprobs.device();
  const at::Tensor slot = to_device(at::tensor(slots, at::kLong), device);
  const auto padded = [&](const at::Tensor& packed) {
    return at::zeros({rows * time}, packed.options()).index_copy_(0, slot, packed).view({rows, time});
  };
  const auto packed = [&](const at::Tensor& values) { return at::index_select(values.reshape({rows * time}), 0, slot); };

  kernels::VarianceKlAdvantageOptions advantage;
  advantage.gamma = options.gamma;
  advantage.lambda = options.lambda;
  advantage.whiten = options.whiten_advantages;
  advantage.whiten_rewards = options.whiten_rewards;
  advantage.kl_estimator = options.kl_estimator;
  const kernels::VarianceKlAdvantage result = kernels::variance_kl_advantage(
      padded(rollout.logprobs), padded(rollout.ref_logprobs), padded(rollout.values),
      to_device(at::tensor(scores, at::kFloat), device), to_device(at::tensor(kl_weights, at::kFloat), device),
      to_device(at::tensor(lengths, at::kInt), device),
      full ? std::optional<at::Tensor>(padded(rollout.kl_per_token)) : std::nullopt, advantage);
  advantages_ = packed(result.advantages);
  returns_ = packed(result.returns);
  kl_ = packed(result.kl);
}

std::vector<PpoMicroBatch> PpoExperience::pack(std::vector<int64_t> index) const {
  if (index.empty()) return {};  // a rank without rows
  const c10::NoGradGuard no_grad;
  std::sort(index.begin(), index.end());
  const PredictionPlan plan(rows_, rollout_.prompts.lengths, std::move(index), micro_batch_tokens_,
                            share_prefixes_ ? SharedPart::Prompts : SharedPart::None, "microBatchTokens");
  std::vector<PpoMicroBatch> result;
  for (const auto& range : plan.batches()) {
    PpoMicroBatch batch;
    batch.rows = plan.rows_of(range);
    batch.prediction = plan.pack(policy_, range);
    std::vector<int64_t> tokens;
    for (const int64_t row : batch.rows) {
      for (int64_t token = token_starts_[row]; token < token_starts_[row + 1]; ++token) tokens.push_back(token);
    }
    const at::Tensor token = to_device(at::tensor(tokens, at::kLong), advantages_.device());
    const auto select = [&](const at::Tensor& values) { return at::index_select(values, 0, token).unsqueeze(0); };
    batch.old_logprobs = select(rollout_.logprobs);
    batch.old_values = select(rollout_.values);
    batch.advantages = select(advantages_);
    batch.returns = select(returns_);
    batch.length = at::full({1}, static_cast<int64_t>(tokens.size()), advantages_.options().dtype(at::kInt));
    result.push_back(std::move(batch));
  }
  return result;
}

PpoStats PpoExperience::statistics() const {
  const std::vector<float> kl_sums = row_sums(kl_, rollout_.responses.lengths);
  const std::vector<float> logprob_sums = row_sums(rollout_.logprobs, rollout_.responses.lengths);
  double kl = 0, entropy = 0, penalty = 0;
  for (size_t row = 0; row < kl_sums.size(); ++row) {
    kl += kl_sums[row];
    entropy -= logprob_sums[row];
    penalty -= static_cast<double>(kl_weights_[row]) * kl_sums[row];
  }
  const auto rows = static_cast<double>(kl_sums.size());
  const MeanStd scores = mean_std({scores_.begin(), scores_.end()});
  const MeanStd queries = mean_std(as_double(rollout_.prompts.lengths)),
                responses = mean_std(as_double(rollout_.responses.lengths));
  return {
      {"objective/kl", kl / rows},
      {"objective/entropy", entropy / rows},
      {"ppo/mean_non_score_reward", penalty / static_cast<double>(rollout_.responses.tokens())},
      {"ppo/mean_scores", scores.mean},
      {"ppo/std_scores", scores.std},
      {"tokens/queries_len_mean", queries.mean},
      {"tokens/queries_len_std", queries.std},
      {"tokens/responses_len_mean", responses.mean},
      {"tokens/responses_len_std", responses.std},
  };
}

}  // namespace prudent::training
