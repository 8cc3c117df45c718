// A recorded PPO step of classic TRL: models, rollout, options and input, as test/golden holds them.
#pragma once

#include <memory>
#include <string>

#include "training/golden.h"
#include "training/ppo_trainer.h"

namespace prudent::tests {

inline kernels::KlEstimator estimator(const std::string& name) {
  if (name == "abs") return kernels::KlEstimator::Abs;
  if (name == "mse") return kernels::KlEstimator::Mse;
  if (name == "k3") return kernels::KlEstimator::K3;
  return name == "full" ? kernels::KlEstimator::Full : kernels::KlEstimator::Kl;
}

struct PpoCase {
  const Json& record;
  std::string name = member(record, "model").as_string("model");
  std::shared_ptr<models::Model> policy = hashed_model(name, 3, 0, true), reference = hashed_model(name, 4);
  training::TokenRows queries = token_rows(member(record, "queries")), responses = token_rows(member(record, "responses"));
  training::PpoTrainerOptions options;
  training::PpoStepInput input;

  explicit PpoCase(size_t index) : record(member(golden(), "ppo").as_array("ppo")[index]) {
    const Json& settings = member(record, "options");
    options.optimizer = optimizer_options(settings);
    options.ppo_epochs = static_cast<int64_t>(number(settings, "ppo_epochs"));
    options.mini_batch_size = static_cast<int64_t>(number(settings, "mini_batch_size"));
    options.gamma = number(settings, "gamma");
    options.lambda = number(settings, "lam");
    options.clip_range = number(settings, "cliprange");
    options.clip_range_value = number(settings, "cliprange_value");
    options.vf_coef = number(settings, "vf_coef");
    options.ratio_threshold = number(settings, "ratio_threshold");
    options.whiten_rewards = member(settings, "whiten_rewards").as_bool("whiten_rewards");
    options.kl_estimator = estimator(member(settings, "kl_penalty").as_string("kl_penalty"));
    options.early_stopping = member(settings, "early_stopping").as_bool("early_stopping");
    options.target_kl = number(settings, "target_kl");
    input.lr = number(settings, "lr");
    input.scores = floats(member(record, "scores"));
    input.kl_weights = floats(member(record, "kl_weights"));
    for (const int32_t row : integers(member(record, "permutations"))) input.permutations.push_back(row);
  }
  [[nodiscard]] std::shared_ptr<const training::Rollout> evaluate(int64_t batch_tokens = 1000) const {
    training::RolloutOptions rollout;
    rollout.exact_kl = true;
    rollout.batch_tokens = batch_tokens;
    return training::evaluate_responses(*policy, *reference, queries, responses, rollout, Job());
  }
};

}  // namespace prudent::tests
