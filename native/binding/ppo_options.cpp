#include "binding/ppo_options.h"

#include "binding/process_group_handle.h"

namespace prudent::binding {

kernels::KlEstimator read_kl_estimator(Options& options, const char* key, std::optional<kernels::KlEstimator> fallback) {
  using kernels::KlEstimator;
  return options.choice<KlEstimator>(key, fallback,
                                     {{"kl", KlEstimator::Kl},
                                      {"abs", KlEstimator::Abs},
                                      {"mse", KlEstimator::Mse},
                                      {"full", KlEstimator::Full},
                                      {"k3", KlEstimator::K3}});
}

training::OptimizerOptions read_optimizer_options(Options& options) {
  using training::WeightDecayScope;
  constexpr Range kBeta{.low = 0, .high = 1};
  training::OptimizerOptions result;
  result.beta1 = options.number("beta1", result.beta1, kBeta);
  result.beta2 = options.number("beta2", result.beta2, kBeta);
  result.eps = options.number("eps", result.eps, kPositive);
  result.weight_decay = options.number("weightDecay", result.weight_decay, kNotNegative);
  result.decay_scope = options.choice<WeightDecayScope>(
      "weightDecayScope", result.decay_scope, {{"matrices", WeightDecayScope::Matrices}, {"all", WeightDecayScope::All}});
  result.max_grad_norm = options.number("maxGradNorm", result.max_grad_norm, kNotNegative);
  result.state_folder = options.text("stateFolder", std::string());
  result.group = read_group(options);
  result.shard_states = options.flag("shardStates", false);
  return result;
}

models::Checkpointing read_checkpointing(Options& options) {
  constexpr int64_t kMostMebibytes = int64_t{1} << 30;
  models::Checkpointing result;
  result.enabled = options.flag("activationCheckpointing", false);
  if (!options.has("activationMemory")) return result;
  PRUDENT_CHECK(result.enabled, "E_RANGE", "options.activationMemory", "activationCheckpointing: true beside it",
                "activationCheckpointing: false");
  result.activation_bytes = options.integer("activationMemory", std::nullopt, 0, kMostMebibytes) << 20;
  return result;
}

training::PpoTrainerOptions read_ppo_options(const Napi::Value& value) {
  Options options(value, "options");
  training::PpoTrainerOptions result;
  result.optimizer = read_optimizer_options(options);
  result.ppo_epochs = options.integer("ppoEpochs", std::nullopt, 1, 1 << 20);
  result.mini_batch_size = options.integer("miniBatchSize", std::nullopt, 1);
  result.micro_batch_tokens = options.integer("microBatchTokens", std::nullopt, 1);
  result.gamma = options.number("gamma", std::nullopt, kUnit);
  result.lambda = options.number("lambda", std::nullopt, kUnit);
  result.clip_range = options.number("clipRange", std::nullopt, kPositive);
  result.clip_range_value = options.number("clipRangeValue", std::nullopt, kPositive);
  result.vf_coef = options.number("vfCoef", std::nullopt, kNotNegative);
  result.ratio_threshold = options.number("ratioThreshold", std::nullopt, kPositive);
  result.whiten_advantages = options.flag("whitenAdvantages", std::nullopt);
  result.whiten_rewards = options.flag("whitenRewards", std::nullopt);
  result.kl_estimator = read_kl_estimator(options, "klEstimator", std::nullopt);
  result.old_from_sampling = options.choice<bool>("oldLogprobs", std::nullopt, {{"forward", false}, {"sampling", true}});
  result.share_forward = options.flag("shareForward", std::nullopt);
  result.share_prefixes = options.flag("sharePrefixes", result.share_prefixes);
  result.early_stopping = options.flag("earlyStopping", std::nullopt);
  result.target_kl = options.number("targetKl", std::nullopt, kPositive);
  result.checkpoint = read_checkpointing(options);
  result.optimizer.update_in_backward = options.flag("updateInBackward", false);
  options.finish();
  return result;
}

}  // namespace prudent::binding
