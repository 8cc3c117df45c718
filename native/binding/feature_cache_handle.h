// NativeFeatureCache.
#pragma once

#include "binding/handle.h"
#include "training/feature_cache.h"

namespace prudent::binding {

struct FeatureCacheState {
  explicit FeatureCacheState(std::shared_ptr<training::FeatureCache> given)
      : cache(std::move(given)), strand(make_strand(at::kCPU)) {}
  [[nodiscard]] int64_t bytes() const { return cache->features().numel() * static_cast<int64_t>(sizeof(float)); }

  std::shared_ptr<training::FeatureCache> cache;  // never changes
  std::shared_ptr<Strand> strand;
};

class FeatureCacheHandle : public Handle<FeatureCacheHandle, FeatureCacheState> {
 public:
  static constexpr const char* kName = "FeatureCache";
  static constexpr napi_type_tag kTag = {0x58c2e90d7ab14f36, 0xb94e1f8063d7c52a};
  using Handle::Handle;
  static Methods methods();

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value to_array(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value columns(const Napi::CallbackInfo& info);
  Napi::Value laplace(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
};

Napi::Value wrap_feature_cache(Napi::Env env, std::shared_ptr<FeatureCacheState>& state);
// createFeatureCache(values, rows, hidden, call?)
Napi::Value create_feature_cache(const Napi::CallbackInfo& info);
// loadFeatureCache(file, call?)
Napi::Value load_feature_cache(const Napi::CallbackInfo& info);

}  // namespace prudent::binding
