#include "binding/ops.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/ppo_options.h"
#include "core/error.h"
#include "kernels/bradley_terry/bradley_terry.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

namespace prudent::binding {
namespace {

// [batch, time] arrays of an args object.
class Grid {
 public:
  explicit Grid(Options& args) : args_(args), shape_(args.shape("shape", 2)) {}

  at::Tensor matrix(const char* key) { return to_tensor(args_.floats(key, shape_[0] * shape_[1]), shape_); }
  at::Tensor column(const char* key) { return to_tensor(args_.floats(key, shape_[0]), shape_[0]); }
  at::Tensor response_lengths() {
    const std::vector<int32_t> lengths = args_.integers("responseLengths", shape_[0]);
    for (size_t row = 0; row < lengths.size(); ++row) {
      PRUDENT_CHECK(lengths[row] >= 1 && lengths[row] <= shape_[1], "E_RANGE", "responseLengths[" + std::to_string(row) + "]",
                    "an integer in [1, " + std::to_string(shape_[1]) + "]", std::to_string(lengths[row]));
    }
    at::Tensor tensor = at::empty(shape_[0], at::kInt);
    std::memcpy(tensor.data_ptr<int32_t>(), lengths.data(), lengths.size() * sizeof(int32_t));
    return tensor;
  }

 private:
  Options& args_;
  std::vector<int64_t> shape_;
};

double scalar(const at::Tensor& tensor) { return tensor.item<double>(); }

Napi::Value variance_kl_advantage(const Napi::CallbackInfo& info) {
  Options args(info[0], "");
  Grid grid(args);
  const at::Tensor logprobs = grid.matrix("logprobs"), ref_logprobs = grid.matrix("refLogprobs"), values = grid.matrix("values");
  const at::Tensor scores = grid.column("scores"), kl_weights = grid.column("klWeights"), lengths = grid.response_lengths();
  kernels::VarianceKlAdvantageOptions options;
  options.gamma = args.number("gamma", options.gamma, kUnit);
  options.lambda = args.number("lambda", options.lambda, kUnit);
  options.whiten = args.flag("whiten", options.whiten);
  options.whiten_rewards = args.flag("whitenRewards", options.whiten_rewards);
  options.kl_estimator = read_kl_estimator(args, "klPenalty", options.kl_estimator);
  std::optional<at::Tensor> kl_per_token;
  if (options.kl_estimator == kernels::KlEstimator::Full || args.has("klPerToken")) kl_per_token = grid.matrix("klPerToken");
  args.finish();
  return submit(
      info.Env(), free_target(), info[1],
      [=](const Job&) {
        return kernels::variance_kl_advantage(logprobs, ref_logprobs, values, scores, kl_weights, lengths, kl_per_token, options);
      },
      [](Napi::Env env, const kernels::VarianceKlAdvantage& result) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("rewards", to_float32_array(env, result.rewards));
        object.Set("advantages", to_float32_array(env, result.advantages));
        object.Set("returns", to_float32_array(env, result.returns));
        object.Set("kl", to_float32_array(env, result.kl));
        return object;
      });
}

Napi::Object stats_object(Napi::Env env, const kernels::PpoLossStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("policyLoss", stats.policy_loss);
  object.Set("valueLoss", stats.value_loss);
  object.Set("loss", stats.loss);
  object.Set("approxKl", stats.approx_kl);
  object.Set("policyKl", stats.policy_kl);
  object.Set("clipFraction", stats.clip_fraction);
  object.Set("valueClipFraction", stats.value_clip_fraction);
  object.Set("ratioMean", stats.ratio_mean);
  object.Set("advantagesMean", stats.advantages_mean);
  object.Set("returnsMean", stats.returns_mean);
  object.Set("returnsVar", stats.returns_var);
  object.Set("valueMean", stats.value_mean);
  object.Set("valueError", stats.value_error);
  object.Set("valueMeanOld", stats.value_mean_old);
  object.Set("valueVarOld", stats.value_var_old);
  object.Set("skipped", stats.skipped ? 1.0 : 0.0);
  return object;
}

Napi::Value ppo_loss(const Napi::CallbackInfo& info) {
  Options args(info[0], "");
  Grid grid(args);
  const at::Tensor logprobs = grid.matrix("logprobs"), values = grid.matrix("values"), old_logprobs = grid.matrix("oldLogprobs");
  const at::Tensor old_values = grid.matrix("oldValues"), advantages = grid.matrix("advantages"),
                   returns = grid.matrix("returns");
  const at::Tensor lengths = grid.response_lengths();
  kernels::PpoLossOptions options;
  options.clip_range = args.number("clipRange", options.clip_range, kPositive);
  options.clip_range_value = args.number("clipRangeValue", options.clip_range_value, kPositive);
  options.vf_coef = args.number("vfCoef", options.vf_coef, kNotNegative);
  options.ratio_threshold = args.number("ratioThreshold", options.ratio_threshold, kPositive);
  args.finish();
  return submit(
      info.Env(), free_target(), info[1],
      [=](const Job&) {
        return kernels::ppo_loss(logprobs, values, old_logprobs, old_values, advantages, returns, lengths, options);
      },
      [](Napi::Env env, const kernels::PpoLoss& result) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("loss", scalar(result.loss));
        object.Set("policyLoss", scalar(result.policy_loss));
        object.Set("valueLoss", scalar(result.value_loss));
        object.Set("gradLogprobs", to_float32_array(env, result.grad_logprobs));
        object.Set("gradValues", to_float32_array(env, result.grad_values));
        object.Set("stats", stats_object(env, result.stats));
        return object;
      });
}

Napi::Value bradley_terry(const Napi::CallbackInfo& info) {
  Options args(info[0], "");
  Grid grid(args);
  const at::Tensor chosen = grid.matrix("chosen"), rejected = grid.matrix("rejected");
  args.finish();
  return submit(
      info.Env(), free_target(), info[1], [=](const Job&) { return kernels::bradley_terry(chosen, rejected); },
      [](Napi::Env env, const kernels::BradleyTerry& result) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("loss", scalar(result.loss));
        object.Set("lossPerHead", to_float32_array(env, result.loss_per_head));
        object.Set("accuracyPerHead", to_float32_array(env, result.accuracy_per_head));
        object.Set("gradChosen", to_float32_array(env, result.grad_chosen));
        object.Set("gradRejected", to_float32_array(env, result.grad_rejected));
        return object;
      });
}

template <Napi::Value (*op)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] { return op(info); });
}

}  // namespace

Napi::Object define_ops(Napi::Env env) {
  Napi::Object ops = Napi::Object::New(env);
  ops.Set("varianceKlAdvantage", Napi::Function::New<guarded<variance_kl_advantage>>(env, "varianceKlAdvantage"));
  ops.Set("ppoLoss", Napi::Function::New<guarded<ppo_loss>>(env, "ppoLoss"));
  ops.Set("bradleyTerry", Napi::Function::New<guarded<bradley_terry>>(env, "bradleyTerry"));
  return ops;
}

}  // namespace prudent::binding
