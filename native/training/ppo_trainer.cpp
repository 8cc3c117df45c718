#include "training/ppo_trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/error.h"
#include "kernels/matmul/packed_weights.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "training/permutation.h"
#include "training/ppo_experience.h"
#include "training/rollout_gather.h"
#include "training/step_scope.h"
#include "training/stopwatch.h"

namespace prudent::training {
namespace {

void check_number(bool ok, const char* argument, const char* expected, double received) {
  PRUDENT_CHECK(ok, "E_RANGE", argument, expected, std::to_string(received));
}

void check_options(const PpoTrainerOptions& options) {
  check_number(options.ppo_epochs >= 1, "ppoEpochs", "an integer >= 1", static_cast<double>(options.ppo_epochs));
  check_number(options.mini_batch_size >= 1, "miniBatchSize", "an integer >= 1", static_cast<double>(options.mini_batch_size));
  check_number(options.micro_batch_tokens >= 1, "microBatchTokens", "an integer >= 1",
               static_cast<double>(options.micro_batch_tokens));
  check_number(options.gamma >= 0 && options.gamma <= 1, "gamma", "a number in [0, 1]", options.gamma);
  check_number(options.lambda >= 0 && options.lambda <= 1, "lambda", "a number in [0, 1]", options.lambda);
  check_number(options.clip_range > 0, "clipRange", "a number > 0", options.clip_range);
  check_number(options.clip_range_value > 0, "clipRangeValue", "a number > 0", options.clip_range_value);
  check_number(std::isfinite(options.vf_coef) && options.vf_coef >= 0, "vfCoef", "a number >= 0", options.vf_coef);
  check_number(options.ratio_threshold > 0, "ratioThreshold", "a number > 0", options.ratio_threshold);
  check_number(!options.early_stopping || options.target_kl > 0, "targetKl", "a number > 0", options.target_kl);
}

std::vector<int64_t> epoch_order(const PpoStepInput& input, int64_t rows, int64_t epoch) {
  if (input.permutations.empty()) return seeded_permutation(rows, input.seed, static_cast<uint64_t>(epoch));
  const auto begin = input.permutations.begin() + epoch * rows;
  return {begin, begin + rows};
}

void check_permutations(const PpoStepInput& input, int64_t rows, int64_t epochs) {
  if (input.permutations.empty()) return;
  PRUDENT_CHECK(static_cast<int64_t>(input.permutations.size()) == rows * epochs, "E_SHAPE", "permutations",
                std::to_string(rows * epochs) + " row numbers", std::to_string(input.permutations.size()));
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    std::vector<int64_t> order = epoch_order(input, rows, epoch);
    std::sort(order.begin(), order.end());
    for (int64_t row = 0; row < rows; ++row) {
      PRUDENT_CHECK(order[row] == row, "E_RANGE", "permutations", "each row once in epoch " + std::to_string(epoch),
                    "row " + std::to_string(row) + " missing");
    }
  }
}

double value_of(const PpoStats& stats, const std::string& name) {
  const auto found = std::find_if(stats.begin(), stats.end(), [&](const auto& entry) { return entry.first == name; });
  return found->second;
}

constexpr int64_t kLossSums = 15;  // of kernels::PpoLoss

// Of every micro-batch: the loss's sums, entropy, ratio error, tokens -> [micro-batches of all ranks, kLossSums + 3] on the CPU.
at::Tensor parts_of_all_ranks(const std::vector<at::Tensor>& parts, const std::vector<double>& counts, const Group& group) {
  at::Tensor own = at::empty({0, kLossSums + 3}, at::kDouble);  // a rank may have had no row
  if (!parts.empty()) own = at::cat({at::stack(parts).cpu(), at::tensor(counts, at::kDouble).unsqueeze(1)}, 1);
  return distributed::is_alone(group) ? own : group->gather_rows(own);
}

// max |exp(logprob - old logprob) - 1| over tokens
at::Tensor largest_ratio_error(const at::Tensor& logprobs, const at::Tensor& old_logprobs) {
  return (logprobs - old_logprobs).expm1().abs().max();
}

}  // namespace

PpoTrainer::PpoTrainer(std::shared_ptr<models::Model> policy, std::shared_ptr<const models::Model> reference,
                       const PpoTrainerOptions& options)
    : policy_(std::move(policy)),
      reference_(std::move(reference)),
      options_(options),
      optimizer_(policy_->parameters(), options.optimizer) {
  check_options(options);
  PRUDENT_CHECK(policy_ != reference_, "E_RANGE", "reference", "a model of its own (a clone of the policy)", "the policy itself");
  static_cast<void>(policy_->lm_weight());  // E_NO_HEAD for a classifier
  static_cast<void>(reference_->lm_weight());
  PRUDENT_CHECK(policy_->has_value_head(), "E_NO_HEAD", "policy", "a model with a value head", "none");
  PRUDENT_CHECK(policy_->config().vocab_size == reference_->config().vocab_size, "E_SHAPE", "reference",
                "a vocabulary of " + std::to_string(policy_->config().vocab_size),
                std::to_string(reference_->config().vocab_size));
  PRUDENT_CHECK(policy_->device() == reference_->device(), "E_RANGE", "reference", "a model on " + policy_->device().str(),
                reference_->device().str());
  policy_->set_requires_grad(true);
}

std::shared_ptr<const Rollout> PpoTrainer::rollout(const TokenRows& prompts, const RolloutOptions& options,
                                                   const Job& job) const {
  RolloutOptions own = options;
  own.exact_kl = options.exact_kl || options_.kl_estimator == kernels::KlEstimator::Full;
  own.from_sampling = options_.old_from_sampling;
  const bool one_update = prompts.rows() <= options_.mini_batch_size;
  own.checkpoint = options_.checkpoint;
  own.share_prefixes = options_.share_prefixes;
  own.hold_tokens = options_.share_forward && !own.from_sampling && one_update ? options_.micro_batch_tokens : 0;
  const Group& group = optimizer_.group();
  if (!distributed::is_alone(group)) return make_shared_rollout(*policy_, *reference_, prompts, own, group, job);
  return make_rollout(*policy_, *reference_, prompts, own, job);
}

PpoStats PpoTrainer::step(const Rollout& rollout, const PpoStepInput& input, const Job& job) {
  const int64_t rows = rollout.prompts.rows();
  check_permutations(input, rows, options_.ppo_epochs);
  PRUDENT_CHECK(std::isfinite(input.lr) && input.lr >= 0, "E_RANGE", "lr", "a number >= 0", std::to_string(input.lr));
  const Stopwatch total;
  const PpoExperience experience(*policy_, rollout, input.scores, input.kl_weights, options_);
  const double advantage_seconds = total.seconds();

  // The reference is not read again before the next rollout: its packed weights leave their memory to the updates.
  for (const auto& [name, weight] : reference_->parameters()) kernels::forget_packed_weights(weight);

  const Stopwatch optimize;
  std::vector<PpoStats> updates;
  double first_ratio_error = 0;
  const int64_t batches = (rows + options_.mini_batch_size - 1) / options_.mini_batch_size;
  std::vector<PpoMicroBatch> micro;
  for (int64_t epoch = 0; epoch < options_.ppo_epochs; ++epoch) {
    const std::vector<int64_t> order = epoch_order(input, rows, epoch);
    double policy_kl = 0;
    for (int64_t batch = 0; batch < batches; ++batch) {
      const int64_t first = batch * options_.mini_batch_size, last = std::min(rows, first + options_.mini_batch_size);
      // A mini-batch is a set: the loss does not depend on the order of its rows. The whole batch is therefore packed once.
      const std::vector<int64_t> mini_batch(order.begin() + first, order.begin() + last);
      if (batches > 1 || micro.empty()) micro = experience.pack(own_rows(rollout, mini_batch));
      int64_t tokens = 0;
      for (const int64_t row : mini_batch) tokens += rollout.responses.lengths[row];
      // From the first update on the step runs to its end: half a PPO step is not a state to come back to.
      const Job& pollable = updates.empty() ? job : Job();
      auto ready = updates.empty() ? held_forward(rollout, micro) : std::nullopt;
      Update done = update(micro, tokens, std::move(ready), input.lr, pollable);
      if (updates.empty()) first_ratio_error = done.ratio_error;
      updates.push_back(std::move(done.statistics));
      policy_kl = value_of(updates.back(), "ppo/policy/policykl");
      job.report(static_cast<int64_t>(updates.size()), options_.ppo_epochs * batches);
    }
    if (options_.early_stopping && policy_kl > 1.5 * options_.target_kl) break;
  }
  const double optimize_seconds = optimize.seconds();

  const Stopwatch summary;
  PpoStats stats = experience.statistics();
  for (auto& entry : mean_over_updates(updates)) stats.push_back(std::move(entry));
  const double returns_var = value_of(stats, "ppo/returns/var");
  stats.emplace_back("ppo/val/var_explained", returns_var > 0 ? 1 - value_of(stats, "ppo/val/error") / returns_var : 0.0);
  stats.emplace_back("ppo/policy/first_ratio_error", first_ratio_error);
  stats.emplace_back("ppo/learning_rate", input.lr);
  stats.emplace_back("ppo/updates", static_cast<double>(updates.size()));
  stats.emplace_back("time/ppo/generate", rollout.generate_seconds);
  stats.emplace_back("time/ppo/forward_pass", rollout.forward_seconds);
  stats.emplace_back("time/ppo/compute_advantages", advantage_seconds);
  stats.emplace_back("time/ppo/optimize_step", optimize_seconds);
  stats.emplace_back("time/ppo/calc_stats", summary.seconds());
  stats.emplace_back("time/ppo/total", total.seconds());
  return stats;
}

// The rollout's own forward, where the first update would compute the same: all rows, in one micro-batch.
std::optional<PolicyForward> PpoTrainer::held_forward(const Rollout& rollout, const std::vector<PpoMicroBatch>& micro) const {
  return rollout.held && micro.size() == 1 ? rollout.held->take(*policy_, micro.front().rows) : std::nullopt;
}

std::vector<int64_t> PpoTrainer::own_rows(const Rollout& rollout, const std::vector<int64_t>& mini_batch) const {
  std::vector<int32_t> costs;
  for (const int64_t row : mini_batch) costs.push_back(rollout.prompts.lengths[row] + rollout.responses.lengths[row]);
  std::vector<int64_t> rows;
  for (const int64_t place : share_of(costs, optimizer_.group())) rows.push_back(mini_batch[place]);
  return rows;
}

PpoTrainer::Update PpoTrainer::update(const std::vector<PpoMicroBatch>& micro, int64_t tokens, std::optional<PolicyForward> ready,
                                      double lr, const Job& job) {
  kernels::PpoLossOptions loss_options;
  loss_options.clip_range = options_.clip_range;
  loss_options.clip_range_value = options_.clip_range_value;
  loss_options.vf_coef = options_.vf_coef;
  // The threshold holds for the mean ratio of the whole mini-batch, which is known only after its last micro-batch.
  loss_options.ratio_threshold = std::numeric_limits<double>::infinity();

  const StepScope scope(optimizer_, *policy_);
  // Of each micro-batch the sums of the loss, the entropy and the ratio's distance from 1, on the device until the last one: the
  // host waits once.
  std::vector<at::Tensor> parts;
  std::vector<double> counts;
  UpdateStatistics statistics;
  double ratio_error = 0;
  // -> whether the gradients count. It hangs on the forwards alone, so it can be known before the last backward.
  const auto judge = [&] {
    statistics = {};
    const at::Tensor all = parts_of_all_ranks(parts, counts, optimizer_.group());
    for (int64_t i = 0; i < all.size(0); ++i) {
      const at::Tensor part = all.select(0, i);
      statistics.add(kernels::ppo_loss_stats(part.narrow(0, 0, kLossSums), loss_options),
                     part.select(0, kLossSums).item<double>(),
                     static_cast<int64_t>(part.select(0, kLossSums + 2).item<double>()));
      ratio_error = std::max(ratio_error, part.select(0, kLossSums + 1).item<double>());
    }
    const bool skipped = statistics.ratio_mean() > options_.ratio_threshold;
    if (skipped) statistics.mark_skipped();
    check_finite_loss(statistics.loss());
    return !skipped;
  };
  const bool judged_first = options_.optimizer.update_in_backward;  // what the backward has updated cannot be taken back
  const auto pass = [&](const std::function<void()>& before_last) {
    parts.clear();
    counts.clear();
    for (const PpoMicroBatch& batch : micro) {
      job.poll();
      const PolicyForward forward = ready
                                        ? *std::exchange(ready, std::nullopt)
                                        : policy_forward(*policy_, batch.prediction, /*want_entropy=*/true, options_.checkpoint);
      at::Tensor sums;
      at::Tensor loss =
          kernels::ppo_loss_node(forward.logprobs.unsqueeze(0), forward.values.unsqueeze(0), batch.old_logprobs, batch.old_values,
                                 batch.advantages, batch.returns, batch.length, loss_options, &sums);
      const int64_t count = batch.prediction.predicted();
      if (count < tokens) loss = loss.mul(static_cast<double>(count) / static_cast<double>(tokens));
      const at::Tensor distance = largest_ratio_error(forward.logprobs.detach(), batch.old_logprobs.squeeze(0));
      parts.push_back(at::cat({sums, forward.entropy.sum(at::kDouble).view({1}), distance.to(at::kDouble).view({1})}));
      counts.push_back(static_cast<double>(count));
      if (&batch == &micro.back()) {
        if (judged_first && !judge()) {
          optimizer_.zero_gradients();
          loss = loss.mul(0.0);
        }
        before_last();
      }
      optimizer_.backward(loss, /*only_one=*/micro.size() == 1);
    }
  };
  const std::optional<double> norm = optimizer_.run(lr, pass);
  if (norm) return {statistics.values(*norm), ratio_error};
  if (!judge()) optimizer_.zero_gradients();
  job.poll();
  return {statistics.values(optimizer_.step(lr)), ratio_error};
}

}  // namespace prudent::training
