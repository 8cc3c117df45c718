#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

#include <ATen/ops/empty.h>

#include "kernels/common/run_kernel.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage_kernel.h"

namespace prudent::kernels {

namespace {

void check_token_array(const at::Tensor& tensor, const char* argument, const at::Tensor& like) {
  check_dtype(tensor, argument, at::kFloat);
  check_shape(tensor, argument, {like.size(0), like.size(1)});
  check_same_device(tensor, argument, like);
}

void check_row_array(const at::Tensor& tensor, const char* argument, at::ScalarType dtype, const at::Tensor& like) {
  check_dtype(tensor, argument, dtype);
  check_shape(tensor, argument, {like.size(0)});
  check_same_device(tensor, argument, like);
}

}  // namespace

VarianceKlAdvantage variance_kl_advantage(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, const at::Tensor& values,
                                          const at::Tensor& scores, const at::Tensor& kl_weights,
                                          const at::Tensor& response_lengths, const std::optional<at::Tensor>& kl_per_token,
                                          const VarianceKlAdvantageOptions& options) {
  check_dtype(logprobs, "logprobs", at::kFloat);
  check_dims(logprobs, "logprobs", 2, "[batch, time]");
  PRUDENT_CHECK(logprobs.numel() > 0, "E_SHAPE", "logprobs", "at least one token", describe(logprobs));
  check_token_array(ref_logprobs, "ref_logprobs", logprobs);
  check_token_array(values, "values", logprobs);
  check_row_array(scores, "scores", at::kFloat, logprobs);
  check_row_array(kl_weights, "kl_weights", at::kFloat, logprobs);
  check_row_array(response_lengths, "response_lengths", at::kInt, logprobs);
  check_range(response_lengths, "response_lengths", 1, logprobs.size(1));
  if (options.kl_estimator == KlEstimator::Full) {
    PRUDENT_CHECK(kl_per_token.has_value(), "E_SHAPE", "kl_per_token", "an array, as the estimator is 'full'", "none");
    check_token_array(*kl_per_token, "kl_per_token", logprobs);
  }
  check_device(logprobs, "logprobs");

  const bool full = options.kl_estimator == KlEstimator::Full;
  const at::Tensor lp = logprobs.contiguous(), ref = ref_logprobs.contiguous(), v = values.contiguous();
  const at::Tensor score = scores.contiguous(), weight = kl_weights.contiguous(), lengths = response_lengths.contiguous();
  const at::Tensor kl = full ? kl_per_token->contiguous() : at::Tensor();
  const auto result = lp.options().requires_grad(false);
  const VarianceKlAdvantage out{at::empty(lp.sizes(), result), at::empty(lp.sizes(), result), at::empty(lp.sizes(), result),
                                at::empty(lp.sizes(), result)};
  const at::Tensor moments = at::empty({lp.size(0), 2}, result.dtype(at::kDouble));
  const VarianceKlAdvantageArgs args{.logprobs = lp.const_data_ptr<float>(),
                                     .ref_logprobs = ref.const_data_ptr<float>(),
                                     .values = v.const_data_ptr<float>(),
                                     .scores = score.const_data_ptr<float>(),
                                     .kl_weights = weight.const_data_ptr<float>(),
                                     .lengths = lengths.const_data_ptr<int32_t>(),
                                     .kl_per_token = full ? kl.const_data_ptr<float>() : nullptr,
                                     .rewards = out.rewards.mutable_data_ptr<float>(),
                                     .advantages = out.advantages.mutable_data_ptr<float>(),
                                     .returns = out.returns.mutable_data_ptr<float>(),
                                     .kl = out.kl.mutable_data_ptr<float>(),
                                     .moments = reinterpret_cast<RowMoments*>(moments.mutable_data_ptr<double>()),
                                     .batch = lp.size(0),
                                     .time = lp.size(1),
                                     .gamma = static_cast<float>(options.gamma),
                                     .lambda = static_cast<float>(options.lambda),
                                     .whiten = options.whiten,
                                     .whiten_rewards = options.whiten_rewards,
                                     .kind = static_cast<KlKind>(options.kl_estimator)};
  PRUDENT_RUN_KERNEL(variance_kl_advantage_run, args, lp);
  return out;
}

}  // namespace prudent::kernels
