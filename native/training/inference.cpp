#include "training/inference.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "kernels/token_logprob/token_logprob.h"
#include "training/prediction_batch.h"
#include "training/prediction_plan.h"
#include "training/row_plan.h"

namespace prudent::training {
namespace {

// Runs `forward` over micro-batches of consecutive rows and lays the results end to end on the CPU, in fp32.
template <typename Forward>
at::Tensor collect(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                   const Forward& forward) {
  const c10::NoGradGuard no_grad;
  check_rows(rows, model.config(), "rows");
  std::vector<at::Tensor> parts;
  for (const auto& [first, last] : micro_batches(rows.lengths, batch_tokens, "batchTokens")) {
    job.poll();
    parts.push_back(forward(pack_rows(model, rows, first, last)).to(at::kCPU, at::kFloat));
    job.report(last, rows.rows());
  }
  return at::cat(parts).contiguous();
}

RowPlan plan_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, bool share_prefixes) {
  return share_prefixes ? RowPlan(rows, batch_tokens, model.prefix()) : RowPlan(rows, batch_tokens, false);
}

// Results of the micro-batches that fell to each rank by turns, rank after rank -> by place of the plan.
at::Tensor in_place_order(const at::Tensor& by_rank, const RowPlan& plan, int64_t ranks) {
  std::vector<int64_t> places;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    for (size_t batch = static_cast<size_t>(rank); batch < plan.batches().size(); batch += static_cast<size_t>(ranks)) {
      for (int64_t place = plan.batches()[batch].first; place < plan.batches()[batch].second; ++place) places.push_back(place);
    }
  }
  return at::empty_like(by_rank).index_copy_(0, at::tensor(places, at::kLong), by_rank);
}

// The same where only last tokens are read: `forward` gives [rows, width].
template <typename Forward>
at::Tensor collect_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, bool share_prefixes,
                        const Job& job, const Group& group, int64_t width, const Forward& forward) {
  const c10::NoGradGuard no_grad;
  check_rows(rows, model.config(), "rows");
  const RowPlan plan = plan_rows(model, rows, batch_tokens, share_prefixes);
  const auto kept = plan.continues_prefix() ? model.kept_prefix() : nullptr;
  const bool alone = distributed::is_alone(group);
  const size_t ranks = alone ? 1 : static_cast<size_t>(group->size()), rank = alone ? 0 : static_cast<size_t>(group->rank());
  std::vector<at::Tensor> parts{at::empty({0, width}, at::kFloat)};
  for (size_t i = rank; i < plan.batches().size(); i += ranks) {
    const auto& batch = plan.batches()[i];
    job.poll();
    parts.push_back(forward(plan.pack(batch, model.device(), kept)).to(at::kCPU, at::kFloat));
    job.report(batch.second, rows.rows());
  }
  const at::Tensor own = at::cat(parts);
  return plan.in_row_order(alone ? own : in_place_order(group->gather_rows(own), plan, group->size()));
}

void check_prompt_lengths(const TokenRows& rows, const std::vector<int32_t>& prompt_lengths) {
  PRUDENT_CHECK(prompt_lengths.size() == rows.lengths.size(), "E_SHAPE", "promptLengths", std::to_string(rows.rows()) + " values",
                std::to_string(prompt_lengths.size()));
  for (size_t row = 0; row < prompt_lengths.size(); ++row) {
    PRUDENT_CHECK(prompt_lengths[row] >= 1 && prompt_lengths[row] < rows.lengths[row], "E_RANGE",
                  "promptLengths[" + std::to_string(row) + "]",
                  "an integer in [1, " + std::to_string(rows.lengths[row]) + ") (prompt and response of at least one token)",
                  std::to_string(prompt_lengths[row]));
  }
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

at::Tensor score_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                      bool share_prefixes, const Group& group) {
  const int64_t heads = model.score_weight().size(0);  // E_NO_HEAD before any work
  const auto& readout = model.readout();
  return collect_rows(
      model, rows, batch_tokens, share_prefixes, job, group, readout ? readout->heads + readout->spread : heads,
      [&](const models::PackedBatch& batch) { return model.readout() ? model.readout_scores(batch) : model.scores(batch); });
}

at::Tensor feature_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                        bool share_prefixes, const std::vector<int64_t>& layers, const Group& group) {
  const int64_t width = model.config().hidden_size * std::max<int64_t>(1, static_cast<int64_t>(layers.size()));
  return collect_rows(model, rows, batch_tokens, share_prefixes, job, group, width,
                      [&](const models::PackedBatch& batch) { return model.layer_features(batch, layers); });
}

int64_t computed_tokens(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, bool share_prefixes) {
  check_rows(rows, model.config(), "rows");
  return plan_rows(model, rows, batch_tokens, share_prefixes).computed_tokens();
}

at::Tensor hidden_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job) {
  return collect(model, rows, batch_tokens, job, [&](const models::PackedBatch& batch) { return model.hidden(batch); });
}

at::Tensor logit_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job) {
  static_cast<void>(model.lm_weight());
  return collect(model, rows, batch_tokens, job,
                 [&](const models::PackedBatch& batch) { return model.logits(model.hidden(batch)); });
}

at::Tensor logprob_rows(const models::Model& model, const TokenRows& rows, int64_t batch_tokens, const Job& job,
                        bool share_prefixes) {
  const c10::NoGradGuard no_grad;
  check_rows(rows, model.config(), "rows");
  const at::Tensor& weight = model.lm_weight();
  std::vector<int64_t> index;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    if (rows.lengths[static_cast<size_t>(row)] > 1) index.push_back(row);
  }
  const std::vector<int32_t> prompt_lengths(rows.lengths.size(), 1);
  const PredictionPlan plan(rows, prompt_lengths, index, batch_tokens,
                            share_prefixes ? SharedPart::Everything : SharedPart::None);
  std::vector<at::Tensor> parts{at::empty({0}, at::kFloat)};
  for (const auto& range : plan.batches()) {
    job.poll();
    const PredictionBatch batch = plan.pack(model, range);
    const at::Tensor hidden = predicting_hidden(model, batch);
    const kernels::TokenLogprob out = kernels::token_logprob(hidden, weight, std::nullopt, batch.targets, false);
    parts.push_back(per_predicted(batch, out.logprobs).to(at::kCPU));
    job.report(range.second, static_cast<int64_t>(index.size()));
  }
  return plan.in_row_order(at::cat(parts).contiguous());
}

models::Generated generate_responses(const models::Model& model, const TokenRows& prompts, const std::vector<int64_t>& row_keys,
                                     const models::GenerateOptions& options, int64_t batch_tokens, const Job& job) {
  const c10::NoGradGuard no_grad;
  check_rows(prompts, model.config(), "prompts");
  PRUDENT_CHECK(row_keys.empty() || row_keys.size() == prompts.lengths.size(), "E_SHAPE", "rowKeys",
                std::to_string(prompts.rows()) + " keys", std::to_string(row_keys.size()));
  PRUDENT_CHECK(options.max_new_tokens >= 1, "E_RANGE", "maxNewTokens", "an integer >= 1",
                std::to_string(options.max_new_tokens));
  const std::vector<int64_t> keys = row_keys.empty() ? row_range(0, prompts.rows()) : row_keys;
  std::vector<int32_t> costs = prompts.lengths;
  for (size_t row = 0; row < costs.size(); ++row) {
    costs[row] += static_cast<int32_t>(options.max_new_tokens);
    PRUDENT_CHECK(costs[row] <= model.config().max_positions, "E_TOO_LONG", "prompts.lengths[" + std::to_string(row) + "]",
                  "prompt + new tokens <= " + std::to_string(model.config().max_positions), std::to_string(costs[row]));
  }
  models::Generated result;
  for (const auto& [first, last] : micro_batches(costs, batch_tokens, "batchTokens")) {
    job.poll();
    const std::vector<int64_t> batch_keys(keys.begin() + first, keys.begin() + last);
    // Rows are counted over all micro-batches; generate() reports after every token, which is also where a cancel is seen.
    const Job part_job(nullptr, [&job, start = first, total = prompts.rows()](int64_t done, int64_t) {
      job.poll();
      job.report(start + done, total);
    });
    const models::Generated part = models::generate(model, pack_rows(model, prompts, first, last), batch_keys, options, part_job);
    append(result.ids, part.ids);
    append(result.lengths, part.lengths);
    append(result.logprobs, part.logprobs);
    append(result.values, part.values);
  }
  return result;
}

TokenRows generate_rows(const models::Model& model, const TokenRows& prompts, const std::vector<int64_t>& row_keys,
                        const models::GenerateOptions& options, int64_t batch_tokens, const Job& job) {
  models::Generated generated = generate_responses(model, prompts, row_keys, options, batch_tokens, job);
  return {std::move(generated.ids), std::move(generated.lengths)};
}

std::vector<float> exact_kl(const models::Model& policy, const models::Model& reference, const TokenRows& rows,
                            const std::vector<int32_t>& prompt_lengths, int64_t batch_tokens, const Job& job) {
  const c10::NoGradGuard no_grad;
  check_rows(rows, policy.config(), "rows");
  check_prompt_lengths(rows, prompt_lengths);
  PRUDENT_CHECK(policy.config().vocab_size == reference.config().vocab_size, "E_SHAPE", "reference",
                "a vocabulary of " + std::to_string(policy.config().vocab_size), std::to_string(reference.config().vocab_size));
  PRUDENT_CHECK(policy.device() == reference.device(), "E_RANGE", "reference", "a model on " + policy.device().str(),
                reference.device().str());
  std::vector<float> result;
  for (const auto& [first, last] : micro_batches(rows.lengths, batch_tokens, "batchTokens")) {
    job.poll();
    const PredictionBatch batch = pack_predictions(policy, rows, prompt_lengths, row_range(first, last));
    const at::Tensor kl = kernels::token_kl(predicting_hidden(policy, batch), policy.lm_weight(),
                                            predicting_hidden(reference, batch), reference.lm_weight());
    const std::vector<float> sums = row_sums(kl, batch.predicted_lengths);
    result.insert(result.end(), sums.begin(), sums.end());
    job.report(last, rows.rows());
  }
  return result;
}

}  // namespace prudent::training
