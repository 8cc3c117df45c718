// NativePpoTrainer and NativeRollout.
#pragma once

#include "binding/trainer_handle.h"
#include "training/ppo_trainer.h"
#include "training/rollout.h"

namespace prudent::binding {

struct RolloutState {
  std::shared_ptr<const training::Rollout> rollout;
  [[nodiscard]] int64_t bytes() const;
};

class RolloutHandle : public Handle<RolloutHandle, RolloutState> {
 public:
  static constexpr const char* kName = "Rollout";
  static constexpr napi_type_tag kTag = {0x26b0f7d91c384ea5, 0xa7419d63e0cb582f};
  using Handle::Handle;
  static Methods methods() { return {}; }
};

class PpoTrainerHandle : public TrainerHandle<PpoTrainerHandle, training::PpoTrainer> {
 public:
  static constexpr const char* kName = "PpoTrainer";
  static constexpr napi_type_tag kTag = {0x93d1c6405ef84a7b, 0x8c2efb517d9046a3};
  using TrainerHandle::TrainerHandle;
  static Methods methods() {
    return trainer_methods(
        {promised_method<&PpoTrainerHandle::rollout>("rollout"), promised_method<&PpoTrainerHandle::step>("step")});
  }

 private:
  friend Base;
  Napi::Value rollout(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
};

// createPpoTrainer(policy, reference, options)
Napi::Value create_ppo_trainer(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
