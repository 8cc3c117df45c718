#include "training/reward_trainer.h"

#include <ATen/ops/stack.h>

#include <functional>
#include <numeric>
#include <optional>

#include "kernels/bradley_terry/bradley_terry.h"
#include "training/row_plan.h"
#include "training/step_scope.h"

namespace prudent::training {
namespace {

// Pairs as the forward takes them: chosen 0, rejected 0, chosen 1 …
struct Pairs {
  std::vector<models::RowView> rows;  // [2 * pairs]
  std::vector<int32_t> shared;        // [2 * pairs] tokens in common with the row before; a chosen row's is 0
  std::vector<int32_t> costs;         // [pairs] computed tokens

  Pairs(const TokenRows& chosen, const TokenRows& rejected, bool share) {
    const std::vector<int64_t> chosen_starts = chosen.offsets(), rejected_starts = rejected.offsets();
    for (size_t pair = 0; pair < chosen.lengths.size(); ++pair) {
      rows.push_back({chosen.ids.data() + chosen_starts[pair], chosen.lengths[pair]});
      rows.push_back({rejected.ids.data() + rejected_starts[pair], rejected.lengths[pair]});
      const int32_t common = share ? common_prefix(rows[2 * pair], rows[2 * pair + 1]) : 0;
      shared.push_back(0);
      shared.push_back(common);
      costs.push_back(chosen.lengths[pair] + rejected.lengths[pair] - common);
    }
  }

  // Those of the numbers given: nothing is looked at again.
  Pairs(const Pairs& all, const std::vector<int64_t>& numbers) {
    for (const int64_t pair : numbers) {
      for (const int64_t row : {2 * pair, 2 * pair + 1}) {
        rows.push_back(all.rows[row]);
        shared.push_back(all.shared[row]);
      }
      costs.push_back(all.costs[pair]);
    }
  }

  [[nodiscard]] models::PackedBatch pack(int64_t first, int64_t last, const at::Device& device) const {
    return models::pack_shared({rows.begin() + 2 * first, rows.begin() + 2 * last},
                               {shared.begin() + 2 * first, shared.begin() + 2 * last}, device);
  }
};

// Loss and accuracy per head of the whole step: means over pairs, weighted with each micro-batch's share of them. A rank may have
// had no pair.
void add_statistics(RewardStep& step, const std::vector<at::Tensor>& parts, const std::vector<double>& shares,
                    const Group& group) {
  const size_t heads = step.loss_per_head.size();
  std::vector<double> sums(2 * heads, 0.0);
  const at::Tensor values = parts.empty() ? at::Tensor() : at::stack(parts).cpu();  // [micro-batches, 2, heads]
  for (size_t i = 0; i < parts.size(); ++i) {
    const float* part = values.const_data_ptr<float>() + 2 * heads * i;
    for (size_t k = 0; k < 2 * heads; ++k) sums[k] += shares[i] * part[k];
  }
  sum_over_ranks(sums, group);
  for (size_t head = 0; head < heads; ++head) {
    step.loss_per_head[head] = static_cast<float>(sums[head]);
    step.accuracy_per_head[head] = static_cast<float>(sums[heads + head]);
  }
}

}  // namespace

RewardTrainer::RewardTrainer(std::shared_ptr<models::Model> model, const RewardTrainerOptions& options)
    : model_(std::move(model)), options_(options), optimizer_(model_->parameters(), options.optimizer) {
  static_cast<void>(model_->score_weight());  // E_NO_HEAD for a causal model
  PRUDENT_CHECK(options.batch_tokens >= 1, "E_RANGE", "batchTokens", "an integer >= 1", std::to_string(options.batch_tokens));
  model_->set_requires_grad(true);
}

RewardStep RewardTrainer::step(const TokenRows& chosen, const TokenRows& rejected, double lr, const Job& job) {
  check_rows(chosen, model_->config(), "chosen");
  check_rows(rejected, model_->config(), "rejected");
  PRUDENT_CHECK(rejected.rows() == chosen.rows(), "E_SHAPE", "rejected",
                std::to_string(chosen.rows()) + " rows, one for each chosen row", std::to_string(rejected.rows()));
  const Pairs all(chosen, rejected, options_.share_prefixes);
  const Pairs pairs(all, share_of(all.costs, optimizer_.group()));

  const StepScope scope(optimizer_, *model_);
  const int64_t heads = model_->score_weight().size(0);
  RewardStep result;
  result.tokens = chosen.tokens() + rejected.tokens();
  result.computed_tokens = std::accumulate(all.costs.begin(), all.costs.end(), int64_t{0});
  result.loss_per_head.assign(heads, 0.0f);
  result.accuracy_per_head.assign(heads, 0.0f);
  const auto micro = micro_batches(pairs.costs, options_.batch_tokens, "batchTokens");
  std::vector<at::Tensor> parts;  // stay on the device until the last micro-batch
  std::vector<double> shares;
  const auto pass = [&](const std::function<void()>& before_last) {
    parts.clear();
    shares.clear();
    for (size_t i = 0; i < micro.size(); ++i) {
      job.poll();
      const auto [first, last] = micro[i];
      const int64_t count = last - first;
      const models::PackedBatch batch = pairs.pack(first, last, model_->device());
      const at::Tensor scores = model_->scores(batch, options_.checkpoint).view({count, 2, heads});
      kernels::BradleyTerry statistics;
      const at::Tensor loss = kernels::bradley_terry_loss(scores.select(1, 0), scores.select(1, 1), &statistics);
      const double share = static_cast<double>(count) / static_cast<double>(chosen.rows());
      if (i + 1 == micro.size()) before_last();
      optimizer_.backward(loss.mul(share), /*only_one=*/micro.size() == 1);
      parts.push_back(at::stack({statistics.loss_per_head, statistics.accuracy_per_head}));
      shares.push_back(share);
      job.report(static_cast<int64_t>(i) + 1, static_cast<int64_t>(micro.size()));
    }
  };
  const std::optional<double> norm = optimizer_.run(lr, pass);
  add_statistics(result, parts, shares, optimizer_.group());
  result.loss = std::accumulate(result.loss_per_head.begin(), result.loss_per_head.end(), 0.0);
  result.accuracy = std::accumulate(result.accuracy_per_head.begin(), result.accuracy_per_head.end(), 0.0) /
                    static_cast<double>(result.accuracy_per_head.size());
  check_finite_loss(result.loss);
  if (!norm) job.poll();
  result.grad_norm = norm ? *norm : optimizer_.step(lr);
  return result;
}

}  // namespace prudent::training
