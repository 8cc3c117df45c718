// The export list. ts/addon/native.ts types it; a test holds the two against each other.
#include <napi.h>

#include "binding/cancel_token.h"
#include "binding/environment.h"
#include "binding/error_info.h"
#include "binding/feature_cache_handle.h"
#include "binding/model_handle.h"
#include "binding/ops.h"
#include "binding/ppo_trainer_handle.h"
#include "binding/process_exit.h"
#include "binding/process_group_handle.h"
#include "binding/system_info.h"
#include "binding/trainer_handle.h"
#include "core/cpu_memory.h"
#include "core/determinism.h"

namespace prudent::binding {

Napi::Value prepare_exit(const Napi::CallbackInfo& info) {
  ProcessExit::prepare();
  return info.Env().Undefined();
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  thrown(env, [&] {
    apply_determinism_variable();
    return env.Undefined();
  });
  install_cpu_allocator();
  env.SetInstanceData(new Environment(env));
  define_cancel_token(env);
  ModelHandle::define(env);
  FeatureCacheHandle::define(env);
  LanguageModelTrainerHandle::define(env);
  RewardTrainerHandle::define(env);
  HeadsTrainerHandle::define(env);
  PpoTrainerHandle::define(env);
  RolloutHandle::define(env);
  ProcessGroupHandle::define(env);

  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("systemInfo", system_info);
  add("configureExecutor", configure_executor);
  add("prepareExit", prepare_exit);
  add("createCancelToken", create_cancel_token);
  exports.Set("ops", define_ops(env));
  add("loadModel", load_model);
  add("createModel", create_model);
  add("createFeatureCache", create_feature_cache);
  add("loadFeatureCache", load_feature_cache);
  add("createLanguageModelTrainer", create_language_model_trainer);
  add("createRewardTrainer", create_reward_trainer);
  add("createHeadsTrainer", create_heads_trainer);
  add("createPpoTrainer", create_ppo_trainer);
  add("createProcessGroup", create_process_group);
  add("exactKl", exact_kl);
  return exports;
}

}  // namespace prudent::binding

static Napi::Object initialise(Napi::Env env, Napi::Object exports) { return prudent::binding::initialise(env, exports); }

NODE_API_MODULE(prudent, initialise)
