#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

#include "kernels/common/check.h"

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
  return variance_kl_advantage_reference(logprobs, ref_logprobs, values, scores, kl_weights, response_lengths, kl_per_token,
                                         options);
}

}  // namespace prudent::kernels
