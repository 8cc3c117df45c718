#include "training/language_model_trainer.h"

#include <ATen/ops/stack.h>

#include <functional>
#include <optional>
#include <vector>

#include "kernels/token_logprob/token_logprob.h"
#include "training/prediction_batch.h"
#include "training/step_scope.h"

namespace prudent::training {
namespace {

template <typename T>
std::vector<T> picked(const std::vector<T>& from, const std::vector<int64_t>& places) {
  std::vector<T> result;
  for (const int64_t place : places) result.push_back(from[static_cast<size_t>(place)]);
  return result;
}

}  // namespace

LanguageModelTrainer::LanguageModelTrainer(std::shared_ptr<models::Model> model, const OptimizerOptions& options,
                                           int64_t batch_tokens, const models::Checkpointing& checkpoint)
    : model_(std::move(model)), optimizer_(model_->parameters(), options), batch_tokens_(batch_tokens), checkpoint_(checkpoint) {
  static_cast<void>(model_->lm_weight());  // E_NO_HEAD for a classifier
  PRUDENT_CHECK(batch_tokens >= 1, "E_RANGE", "batchTokens", "an integer >= 1", std::to_string(batch_tokens));
  model_->set_requires_grad(true);
}

LanguageModelStep LanguageModelTrainer::step(const TokenRows& rows, double lr, const Job& job) {
  check_rows(rows, model_->config(), "rows");
  std::vector<int64_t> index;  // rows that predict something
  std::vector<int32_t> costs;
  LanguageModelStep result;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    if (rows.lengths[row] < 2) continue;
    index.push_back(row);
    costs.push_back(rows.lengths[row]);
    result.tokens += rows.lengths[row] - 1;
  }
  PRUDENT_CHECK(result.tokens > 0, "E_SHAPE", "rows", "a row of at least two tokens", "rows of one token only");

  const std::vector<int64_t> mine = share_of(costs, optimizer_.group());
  index = picked(index, mine);
  costs = picked(costs, mine);

  const StepScope scope(optimizer_, *model_);
  const std::vector<int32_t> prompt_lengths(rows.lengths.size(), 1);
  const auto micro = micro_batches(costs, batch_tokens_, "batchTokens");
  std::vector<at::Tensor> losses;  // stay on the device until the last micro-batch
  const auto pass = [&](const std::function<void()>& before_last) {
    losses.clear();
    for (size_t i = 0; i < micro.size(); ++i) {
      job.poll();
      const std::vector<int64_t> batch_index(index.begin() + micro[i].first, index.begin() + micro[i].second);
      const PredictionBatch batch = pack_predictions(*model_, rows, prompt_lengths, batch_index);
      const at::Tensor hidden = predicting_hidden(*model_, batch, checkpoint_);
      const at::Tensor logprobs =
          kernels::token_logprob(hidden, model_->lm_weight(), std::nullopt, batch.targets, false).logprobs;
      // Divided by the tokens of the whole step: the sum over micro-batches is the mean over all tokens.
      const at::Tensor loss = logprobs.sum().neg().div(static_cast<double>(result.tokens));
      if (i + 1 == micro.size()) before_last();
      optimizer_.backward(loss, /*only_one=*/micro.size() == 1);
      losses.push_back(loss.detach());
      job.report(static_cast<int64_t>(i) + 1, static_cast<int64_t>(micro.size()));
    }
  };
  const std::optional<double> norm = optimizer_.run(lr, pass);
  if (!losses.empty()) result.loss = at::stack(losses).sum(at::kDouble).item<double>();
  sum_over_ranks(result.loss, optimizer_.group());
  check_finite_loss(result.loss);
  if (!norm) job.poll();
  result.grad_norm = norm ? *norm : optimizer_.step(lr);
  return result;
}

}  // namespace prudent::training
