#include "binding/feature_cache_handle.h"

#include "training/laplace_head.h"

namespace prudent::binding {

FeatureCacheHandle::Methods FeatureCacheHandle::methods() {
  return {
      thrown_method<&FeatureCacheHandle::info>("info"),         promised_method<&FeatureCacheHandle::to_array>("toArray"),
      promised_method<&FeatureCacheHandle::score>("score"),     promised_method<&FeatureCacheHandle::columns>("columns"),
      promised_method<&FeatureCacheHandle::laplace>("laplace"), promised_method<&FeatureCacheHandle::save>("save"),
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

Napi::Value FeatureCacheHandle::columns(const Napi::CallbackInfo& info) {
  const int64_t hidden = open()->cache->hidden();
  const int64_t first = read_integer(info[0], "first", 0, hidden - 1);
  const int64_t count = read_integer(info[1], "count", 1, hidden - first);
  return submit(
      info, 2,
      [first, count](FeatureCacheState& state, const Job&) {
        return std::make_shared<FeatureCacheState>(state.cache->columns(first, count));
      },
      wrap_feature_cache);
}

Napi::Value FeatureCacheHandle::laplace(const Napi::CallbackInfo& info) {
  auto chosen = read_integers(info[0], "chosen");
  auto rejected = read_integers(info[1], "rejected");
  Options options(info[2], "options");
  training::LaplaceOptions laplace;
  laplace.prior_precision = options.number("priorPrecision", 1.0, kPositive);
  laplace.by_evidence = options.flag("byEvidence", false);
  laplace.max_steps = options.integer("maxSteps", 50, 1, 1 << 20);
  options.finish();
  return submit(
      info, 3,
      [chosen = std::move(chosen), rejected = std::move(rejected), laplace](FeatureCacheState& state, const Job& job) {
        return training::fit_laplace_head(*state.cache, chosen, rejected, laplace, job);
      },
      [](Napi::Env env, const training::LaplaceHead& head) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("weights", to_float32_array(env, head.mode.to(at::kFloat)));
        result.Set("factor", to_float32_array(env, head.factor.to(at::kFloat).contiguous()));
        result.Set("priorPrecision", head.prior_precision);
        result.Set("logEvidence", head.log_evidence);
        result.Set("effectiveParameters", head.effective_parameters);
        result.Set("newtonSteps", static_cast<double>(head.newton_steps));
        return Napi::Value(result);
      });
}

Napi::Value FeatureCacheHandle::save(const Napi::CallbackInfo& info) {
  const std::string file = read_string(info[0], "file");
  return submit(info, 1, [file](FeatureCacheState& state, const Job&) { state.cache->save(file); });
}

Napi::Value wrap_feature_cache(Napi::Env env, std::shared_ptr<FeatureCacheState>& state) {
  return FeatureCacheHandle::wrap(env, std::move(state));
}

Napi::Value create_feature_cache(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const int64_t rows = read_integer(info[1], "rows", 1);
    const int64_t hidden = read_integer(info[2], "hidden", 1, kMaxInteger / rows);
    auto features = to_tensor(read_floats(info[0], "values", rows * hidden), {rows, hidden});
    return submit(
        info.Env(), free_target(), info[3],
        [features = std::move(features)](const Job&) {
          return std::make_shared<FeatureCacheState>(std::make_shared<training::FeatureCache>(features));
        },
        wrap_feature_cache);
  });
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
