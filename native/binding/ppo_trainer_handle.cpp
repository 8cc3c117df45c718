#include "binding/ppo_trainer_handle.h"

#include "binding/generation_options.h"
#include "binding/model_handle.h"
#include "binding/ppo_options.h"

namespace prudent::binding {
namespace {

Napi::Value wrap_rollout(Napi::Env env, std::shared_ptr<RolloutState>& state) {
  const std::shared_ptr<const training::Rollout> rollout = state->rollout;
  Napi::Object object = RolloutHandle::wrap(env, std::move(state));
  object.Set("responses", to_token_rows(env, rollout->responses));
  object.Set("klSums", to_float32_array(env, rollout->kl_sums));
  object.Set("exactKlSums", to_float32_array(env, rollout->exact_kl_sums));
  object.Set("generateSeconds", rollout->generate_seconds);
  object.Set("forwardSeconds", rollout->forward_seconds);
  return object;
}

}  // namespace

int64_t RolloutState::bytes() const {
  const int64_t per_token = rollout->kl_per_token.defined() ? 4 : 3;
  return per_token * rollout->responses.tokens() * static_cast<int64_t>(sizeof(float));
}

Napi::Value PpoTrainerHandle::rollout(const Napi::CallbackInfo& info) {
  auto prompts = read_rows(info[0], "prompts");
  Options options(info[1], "options");
  auto parsed = read_generate_options(options, prompts.rows());
  parsed.exact_kl = options.flag("exactKl", false);
  options.finish();
  return submit(
      info, 2,
      [prompts = std::move(prompts), parsed = std::move(parsed)](State& state, const Job& job) {
        const auto lock = state.reading_reference();
        return std::make_shared<RolloutState>(state.trainer.rollout(prompts, parsed, job));
      },
      wrap_rollout);
}

Napi::Value PpoTrainerHandle::step(const Napi::CallbackInfo& info) {
  const auto rollout = RolloutHandle::read(info[0], "rollout")->rollout;
  const int64_t rows = rollout->responses.rows();
  Options options(info[1], "options");
  training::PpoStepInput input;
  input.scores = options.floats("scores", rows);
  input.kl_weights = options.floats("klWeights", rows);
  input.lr = options.number("lr", std::nullopt, kNotNegative);
  input.seed = static_cast<uint64_t>(options.integer("seed", std::nullopt, 0));
  options.finish();
  return submit(
      info, 2,
      [rollout, input = std::move(input)](State& state, const Job& job) {
        const auto lock = state.writing();
        return state.trainer.step(*rollout, input, job);
      },
      [](Napi::Env env, const training::PpoStats& stats) {
        Napi::Object object = Napi::Object::New(env);
        for (const auto& [name, value] : stats) object.Set(name, value);
        return object;
      });
}

Napi::Value create_ppo_trainer(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const auto policy = ModelHandle::read(info[0], "policy");
    const auto reference = ModelHandle::read(info[1], "reference");
    const training::PpoTrainerOptions options = read_ppo_options(info[2]);
    using State = TrainerState<training::PpoTrainer>;
    return submit(
        info.Env(), {policy->strand, nullptr}, info[3],
        [policy, reference, options](const Job&) {
          const std::unique_lock lock(policy->weights);
          return std::make_shared<State>(training::PpoTrainer(policy->model, reference->model, options), policy->strand, policy,
                                         reference);
        },
        [](Napi::Env env, std::shared_ptr<State>& state) { return PpoTrainerHandle::wrap(env, std::move(state)); });
  });
}

}  // namespace prudent::binding
