#include "binding/trainer_handle.h"

#include "binding/feature_cache_handle.h"
#include "binding/generation_options.h"
#include "binding/model_handle.h"
#include "binding/ppo_options.h"

namespace prudent::binding {
namespace {

double read_learning_rate(Options& options) { return options.number("lr", std::nullopt, kNotNegative); }

// Trainers of all weights of a model: made on the model's line by `make(model)`.
template <typename HandleType, typename Make>
Napi::Value create_model_trainer(const Napi::CallbackInfo& info, const std::shared_ptr<ModelState>& model, Make make) {
  using State = typename HandleType::State;
  return submit(
      info.Env(), CallTarget{model->strand, nullptr}, info[2],
      [model, make = std::move(make)](const Job&) {
        const std::unique_lock lock(model->weights);
        return std::make_shared<State>(make(model->model), model->strand, model, nullptr);
      },
      [](Napi::Env env, std::shared_ptr<State>& state) { return HandleType::wrap(env, std::move(state)); });
}

}  // namespace

Napi::Value LanguageModelTrainerHandle::step(const Napi::CallbackInfo& info) {
  auto rows = read_rows(info[0], "rows");
  Options options(info[1], "options");
  const double lr = read_learning_rate(options);
  options.finish();
  return submit(
      info, 2,
      [rows = std::move(rows), lr](State& state, const Job& job) {
        const auto lock = state.writing();
        return state.trainer.step(rows, lr, job);
      },
      [](Napi::Env env, const training::LanguageModelStep& step) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("loss", step.loss);
        result.Set("gradNorm", step.grad_norm);
        result.Set("tokens", static_cast<double>(step.tokens));
        return result;
      });
}

Napi::Value RewardTrainerHandle::step(const Napi::CallbackInfo& info) {
  auto chosen = read_rows(info[0], "chosen");
  auto rejected = read_rows(info[1], "rejected");
  Options options(info[2], "options");
  const double lr = read_learning_rate(options);
  options.finish();
  return submit(
      info, 3,
      [chosen = std::move(chosen), rejected = std::move(rejected), lr](State& state, const Job& job) {
        const auto lock = state.writing();
        return state.trainer.step(chosen, rejected, lr, job);
      },
      [](Napi::Env env, const training::RewardStep& step) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("loss", step.loss);
        result.Set("accuracy", step.accuracy);
        result.Set("lossPerHead", to_float32_array(env, step.loss_per_head));
        result.Set("accuracyPerHead", to_float32_array(env, step.accuracy_per_head));
        result.Set("gradNorm", step.grad_norm);
        result.Set("tokens", static_cast<double>(step.tokens));
        result.Set("computedTokens", static_cast<double>(step.computed_tokens));
        return result;
      });
}

Napi::Value HeadsTrainerHandle::step(const Napi::CallbackInfo& info) {
  auto chosen = read_integers(info[0], "chosen");
  auto rejected = read_integers(info[1], "rejected");
  Options options(info[2], "options");
  const double lr = read_learning_rate(options);
  const bool per_head = options.flag("perHead", std::nullopt);
  options.finish();
  return submit(
      info, 3,
      [chosen = std::move(chosen), rejected = std::move(rejected), per_head, lr](State& state, const Job& job) {
        return state.trainer.step(chosen, rejected, per_head, lr, job);
      },
      [](Napi::Env env, const training::HeadsStep& step) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("lossPerHead", to_float32_array(env, step.loss_per_head));
        result.Set("accuracyPerHead", to_float32_array(env, step.accuracy_per_head));
        result.Set("gradNorm", step.grad_norm);
        result.Set("gradNormPerHead", to_float32_array(env, step.grad_norm_per_head));
        return result;
      });
}

Napi::Value HeadsTrainerHandle::weights(const Napi::CallbackInfo& info) {
  return submit(
      info, 0, [](State& state, const Job&) { return state.trainer.weights(); },
      [](Napi::Env env, const at::Tensor& weights) { return to_float32_array(env, weights); });
}

Napi::Value create_language_model_trainer(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const auto model = ModelHandle::read(info[0], "model");
    Options options(info[1], "options");
    training::OptimizerOptions optimizer = read_optimizer_options(options);
    optimizer.update_in_backward = options.flag("updateInBackward", false);
    const int64_t batch_tokens = read_batch_tokens(options);
    const models::Checkpointing checkpoint = read_checkpointing(options);
    options.finish();
    return create_model_trainer<LanguageModelTrainerHandle>(info, model, [=](const std::shared_ptr<models::Model>& weights) {
      return training::LanguageModelTrainer(weights, optimizer, batch_tokens, checkpoint);
    });
  });
}

Napi::Value create_reward_trainer(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const auto model = ModelHandle::read(info[0], "model");
    Options options(info[1], "options");
    training::RewardTrainerOptions parsed;
    parsed.optimizer = read_optimizer_options(options);
    parsed.optimizer.update_in_backward = options.flag("updateInBackward", false);
    parsed.batch_tokens = read_batch_tokens(options);
    parsed.share_prefixes = options.flag("sharePrefixes", parsed.share_prefixes);
    parsed.checkpoint = read_checkpointing(options);
    options.finish();
    return create_model_trainer<RewardTrainerHandle>(
        info, model, [=](const std::shared_ptr<models::Model>& weights) { return training::RewardTrainer(weights, parsed); });
  });
}

Napi::Value create_heads_trainer(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const auto features = FeatureCacheHandle::read(info[0], "features");
    Options options(info[1], "options");
    training::HeadsTrainerOptions parsed;
    parsed.optimizer = read_optimizer_options(options);
    parsed.anchor = options.number("anchor", parsed.anchor, kNotNegative);
    const int64_t heads = options.integer("heads", std::nullopt, 1, 1 << 20);
    const int64_t hidden = features->cache->hidden();
    const at::Tensor initial = to_tensor(options.floats("initial", heads * hidden), {heads, hidden});
    options.finish();
    using State = TrainerState<training::HeadsTrainer>;
    return submit(
        info.Env(), free_target(), info[2],
        [cache = features->cache, initial, parsed](const Job&) {
          return std::make_shared<State>(training::HeadsTrainer(cache, initial, parsed), make_strand(at::kCPU), nullptr, nullptr);
        },
        [](Napi::Env env, std::shared_ptr<State>& state) { return HeadsTrainerHandle::wrap(env, std::move(state)); });
  });
}

}  // namespace prudent::binding
