// NativeLanguageModelTrainer, NativeRewardTrainer, NativeHeadsTrainer: a step, and the state that resume needs.
#pragma once

#include "binding/handle.h"
#include "binding/model_state.h"
#include "core/io.h"
#include "training/heads_trainer.h"
#include "training/language_model_trainer.h"
#include "training/ppo_trainer.h"
#include "training/reward_trainer.h"

namespace prudent::binding {

// A trainer of a model's weights stands in the model's line and writes under its lock.
template <typename Trainer>
struct TrainerState {
  Trainer trainer;
  std::shared_ptr<Strand> strand;
  std::shared_ptr<ModelState> model;      // null for heads
  std::shared_ptr<ModelState> reference;  // PPO's, else null
  std::shared_ptr<const char> ticket = model ? model->trainer_ticket : nullptr;

  // Two moments of every parameter; gradients exist during a step only.
  [[nodiscard]] int64_t bytes() const { return model ? 2 * model->bytes() : 0; }
  [[nodiscard]] std::unique_lock<std::shared_mutex> writing() const {
    return model ? std::unique_lock(model->weights) : std::unique_lock<std::shared_mutex>();
  }
  [[nodiscard]] std::shared_lock<std::shared_mutex> reading_reference() const {
    return reference ? std::shared_lock(reference->weights) : std::shared_lock<std::shared_mutex>();
  }
};

// What all trainers have: saveState, loadState, dispose.
template <typename Derived, typename Trainer>
class TrainerHandle : public Handle<Derived, TrainerState<Trainer>> {
 public:
  using State = TrainerState<Trainer>;
  using Base = Handle<Derived, State>;
  using Base::Base;

 protected:
  static typename Base::Methods trainer_methods(typename Base::Methods own) {
    own.push_back(Base::template promised_method<&TrainerHandle::save_state>("saveState"));
    own.push_back(Base::template promised_method<&TrainerHandle::load_state>("loadState"));
    return own;
  }

  Napi::Value save_state(const Napi::CallbackInfo& info) {
    const std::string file = read_string(info[0], "file");
    Options options(info[1], "options");
    const bool sync = options.flag("sync", true);
    options.finish();
    return this->submit(info, 2, [file, sync](State& state, const Job&) {
      const UnsyncedWrites unsynced(!sync);
      state.trainer.save_state(file);
    });
  }
  Napi::Value load_state(const Napi::CallbackInfo& info) {
    const std::string file = read_string(info[0], "file");
    return this->submit(info, 1, [file](State& state, const Job&) {
      const auto lock = state.writing();
      state.trainer.load_state(file);
    });
  }
};

class LanguageModelTrainerHandle : public TrainerHandle<LanguageModelTrainerHandle, training::LanguageModelTrainer> {
 public:
  static constexpr const char* kName = "LanguageModelTrainer";
  static constexpr napi_type_tag kTag = {0x1e7ab93c5d0f4682, 0x94c3f6e8217ad05b};
  using TrainerHandle::TrainerHandle;
  static Methods methods() { return trainer_methods({promised_method<&LanguageModelTrainerHandle::step>("step")}); }

 private:
  friend Base;
  Napi::Value step(const Napi::CallbackInfo& info);
};

class RewardTrainerHandle : public TrainerHandle<RewardTrainerHandle, training::RewardTrainer> {
 public:
  static constexpr const char* kName = "RewardTrainer";
  static constexpr napi_type_tag kTag = {0x7f02d4c8b16e4935, 0x8ad95e0b3c71f624};
  using TrainerHandle::TrainerHandle;
  static Methods methods() { return trainer_methods({promised_method<&RewardTrainerHandle::step>("step")}); }

 private:
  friend Base;
  Napi::Value step(const Napi::CallbackInfo& info);
};

class HeadsTrainerHandle : public TrainerHandle<HeadsTrainerHandle, training::HeadsTrainer> {
 public:
  static constexpr const char* kName = "HeadsTrainer";
  static constexpr napi_type_tag kTag = {0x4c86a1fe02d74b9d, 0xbe5713c9f8064da2};
  using TrainerHandle::TrainerHandle;
  static Methods methods() {
    return trainer_methods(
        {promised_method<&HeadsTrainerHandle::step>("step"), promised_method<&HeadsTrainerHandle::weights>("weights")});
  }

 private:
  friend Base;
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value weights(const Napi::CallbackInfo& info);
};

// create…Trainer(model or features, options)
Napi::Value create_language_model_trainer(const Napi::CallbackInfo& info);
Napi::Value create_reward_trainer(const Napi::CallbackInfo& info);
Napi::Value create_heads_trainer(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
