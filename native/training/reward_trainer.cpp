#include "training/reward_trainer.h"

#include <ATen/ops/stack.h>

#include <algorithm>
#include <numeric>

#include "kernels/bradley_terry/bradley_terry.h"
#include "kernels/multi_head/multi_head.h"
#include "training/step_scope.h"

namespace prudent::training {
namespace {

// Pairs first .. last - 1: all chosen rows, then all rejected rows.
TokenRows pair_rows(const TokenRows& chosen, const TokenRows& rejected, const std::vector<int64_t>& chosen_offsets,
                    const std::vector<int64_t>& rejected_offsets, int64_t first, int64_t last) {
  TokenRows rows;
  const auto append = [&](const TokenRows& side, const std::vector<int64_t>& offsets) {
    rows.ids.insert(rows.ids.end(), side.ids.begin() + offsets[first], side.ids.begin() + offsets[last]);
    rows.lengths.insert(rows.lengths.end(), side.lengths.begin() + first, side.lengths.begin() + last);
  };
  append(chosen, chosen_offsets);
  append(rejected, rejected_offsets);
  return rows;
}

// Loss and accuracy per head of the whole step: means over pairs, weighted with each micro-batch's share of them.
void add_statistics(RewardStep& step, const std::vector<at::Tensor>& parts, const std::vector<double>& shares) {
  const at::Tensor values = at::stack(parts).cpu();  // [micro-batches, 2, heads]
  const size_t heads = step.loss_per_head.size();
  const float* part = values.const_data_ptr<float>();
  for (const double share : shares) {
    for (size_t head = 0; head < heads; ++head) {
      step.loss_per_head[head] += static_cast<float>(share * part[head]);
      step.accuracy_per_head[head] += static_cast<float>(share * part[heads + head]);
    }
    part += 2 * heads;
  }
}

}  // namespace

RewardTrainer::RewardTrainer(std::shared_ptr<models::Model> model, const OptimizerOptions& options, int64_t batch_tokens)
    : model_(std::move(model)), optimizer_(model_->parameters(), options), batch_tokens_(batch_tokens) {
  static_cast<void>(model_->score_weight());  // E_NO_HEAD for a causal model
  PRUDENT_CHECK(batch_tokens >= 1, "E_RANGE", "batchTokens", "an integer >= 1", std::to_string(batch_tokens));
  model_->set_requires_grad(true);
}

RewardStep RewardTrainer::step(const TokenRows& chosen, const TokenRows& rejected, double lr, const Job& job) {
  check_rows(chosen, model_->config(), "chosen");
  check_rows(rejected, model_->config(), "rejected");
  const int64_t pairs = chosen.rows();
  PRUDENT_CHECK(rejected.rows() == pairs, "E_SHAPE", "rejected", std::to_string(pairs) + " rows, one for each chosen row",
                std::to_string(rejected.rows()));
  std::vector<int32_t> costs(pairs);
  std::transform(chosen.lengths.begin(), chosen.lengths.end(), rejected.lengths.begin(), costs.begin(), std::plus<>());

  const StepScope scope(optimizer_, *model_);
  const std::vector<int64_t> chosen_offsets = chosen.offsets(), rejected_offsets = rejected.offsets();
  const at::Tensor weight = model_->score_weight();
  RewardStep result;
  result.tokens = chosen.tokens() + rejected.tokens();
  result.loss_per_head.assign(weight.size(0), 0.0f);
  result.accuracy_per_head.assign(weight.size(0), 0.0f);
  const auto micro = micro_batches(costs, batch_tokens_, "batchTokens");
  std::vector<at::Tensor> parts;  // stay on the device until the last micro-batch
  std::vector<double> shares;
  for (size_t i = 0; i < micro.size(); ++i) {
    job.poll();
    const auto [first, last] = micro[i];
    const int64_t count = last - first;
    const TokenRows rows = pair_rows(chosen, rejected, chosen_offsets, rejected_offsets, first, last);
    const models::PackedBatch batch = pack_rows(*model_, rows, 0, rows.rows());
    const at::Tensor scores = kernels::multi_head(model_->hidden(batch), batch.last_index().to(model_->device()), weight);
    kernels::BradleyTerry statistics;
    const at::Tensor loss = kernels::bradley_terry_loss(scores.narrow(0, 0, count), scores.narrow(0, count, count), &statistics);
    const double share = static_cast<double>(count) / static_cast<double>(pairs);
    loss.mul(share).backward();
    if (micro.size() > 1) optimizer_.accumulate();
    parts.push_back(at::stack({statistics.loss_per_head, statistics.accuracy_per_head}));
    shares.push_back(share);
    job.report(static_cast<int64_t>(i) + 1, static_cast<int64_t>(micro.size()));
  }
  add_statistics(result, parts, shares);
  result.loss = std::accumulate(result.loss_per_head.begin(), result.loss_per_head.end(), 0.0);
  result.accuracy = std::accumulate(result.accuracy_per_head.begin(), result.accuracy_per_head.end(), 0.0) /
                    static_cast<double>(result.accuracy_per_head.size());
  check_finite_loss(result.loss);
  job.poll();
  result.grad_norm = optimizer_.step(lr);
  return result;
}

}  // namespace prudent::training
