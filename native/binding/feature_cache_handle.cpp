#include "binding/feature_cache_handle.h"

namespace prudent::binding {

FeatureCacheHandle::Methods FeatureCacheHandle::methods() {
  return {
      thrown_method<&FeatureCacheHandle::info>("info"),
      promised_method<&FeatureCacheHandle::to_array>("toArray"),
      promised_method<&FeatureCacheHandle::score>("score"),
      promised_method<&FeatureCacheHandle::save>("save"),
  };
}

Napi::Value FeatureCacheHandle::info(const Napi::CallbackInfo& info) {
  const auto state = open();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("rows", static_cast<double>(state->cache->rows()));
  result.Set("hidden", static_cast<double>(state->cache->hidden()));
  return result;
}

Napi::Value FeatureCacheHandle::to_array(const Napi::CallbackInfo& info) {
  return submit(
      info, 0, [](FeatureCacheState& state, const Job&) { return state.cache->features(); },
      [](Napi::Env env, const at::Tensor& features) { return to_float32_array(env, features); });
}

Napi::Value FeatureCacheHandle::score(const Napi::CallbackInfo& info) {
  const int64_t heads = read_integer(info[1], "heads", 1, 1 << 20);
  const int64_t hidden = open()->cache->hidden();
  auto weight = to_tensor(read_floats(info[0], "weight", heads * hidden), {heads, hidden});
  return submit(
      info, 2, [weight = std::move(weight)](FeatureCacheState& state, const Job&) { return state.cache->score(weight); },
      [](Napi::Env env, const at::Tensor& scores) { return to_float32_array(env, scores); });
}

Napi::Value FeatureCacheHandle::save(const Napi::CallbackInfo& info) {
  const std::string file = read_string(info[0], "file");
  return submit(info, 1, [file](FeatureCacheState& state, const Job&) { state.cache->save(file); });
}

Napi::Value wrap_feature_cache(Napi::Env env, std::shared_ptr<FeatureCacheState>& state) {
  return FeatureCacheHandle::wrap(env, std::move(state));
}

Napi::Value load_feature_cache(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const std::string file = read_string(info[0], "file");
    return submit(
        info.Env(), free_target(), info[1],
        [file](const Job&) { return std::make_shared<FeatureCacheState>(training::FeatureCache::load(file)); },
        wrap_feature_cache);
  });
}

}  // namespace prudent::binding
