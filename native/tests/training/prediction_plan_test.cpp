#include "training/prediction_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "training/inference.h"
#include "training/permutation.h"
#include "training/policy_forward.h"
#include "training/ppo_case.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::PredictionPlan;
using training::SharedPart;
using training::TokenRows;

namespace {

// 9 tokens of a template and a prompt, from which two answers begin alike; another prompt; a row of its own; a row of one token.
const std::vector<std::vector<int32_t>> kTexts{{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15},
                                               {20, 1, 2, 3},
                                               {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16},
                                               {5},
                                               {1, 2, 3, 4, 5, 6, 7, 8, 10, 11},
                                               {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 18}};

double error_of(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).abs().max().item<double>() / std::max(1.0, expected.abs().max().item<double>());
}

std::vector<int64_t> values_of(const at::Tensor& index) {
  return {index.const_data_ptr<int64_t>(), index.const_data_ptr<int64_t>() + index.numel()};
}

// Several responses to each of a few prompts that begin alike, in an order in which no two of a prompt are neighbours.
void use_shared_prompts(PpoCase& test) {
  const std::vector<int32_t> beginning{2, 3, 4, 5, 6, 7, 8, 9};
  std::vector<std::vector<int32_t>> prompts;
  for (int32_t row = 0; row < test.queries.rows(); ++row) {
    std::vector<int32_t> prompt = beginning;
    for (int32_t t = 0; t < 5 + row % 2; ++t) prompt.push_back(10 + row % 2);
    prompts.push_back(prompt);
  }
  test.queries = token_rows(prompts);
}

}  // namespace

TEST_CASE("prediction plan: what rows predict alike is predicted once, each row its own tokens in its own order") {
  const TokenRows rows = token_rows(kTexts);
  const auto model = hashed_model("gpt2", 2);
  const std::vector<int32_t> prompts(kTexts.size(), 1);
  const PredictionPlan plan(rows, prompts, {0, 1, 2, 4, 5}, 1000, SharedPart::Everything);
  REQUIRE(plan.batches().size() == 1);
  // Of the 13, 3, 12, 9 and 10 input tokens 8 are those of all four, of which two rows share 4 more.
  CHECK(plan.computed_tokens() == 13 + 3 + 12 + 9 + 10 - 3 * 8);
  CHECK(plan.rows_of(plan.batches().front()) == std::vector<int64_t>{2, 0, 5, 4, 1});
  const training::PredictionBatch batch = plan.pack(*model, plan.batches().front());
  CHECK(batch.inputs.tokens() == plan.computed_tokens());
  CHECK(batch.predicted() == 47);
  // After the 8 shared tokens 9 or 10 follows: one state, two targets.
  CHECK(batch.targets.size(0) == plan.computed_tokens() + 1);
  CHECK_FALSE(batch.predicting.defined());
  const std::vector<int64_t> expand = values_of(batch.expand), states = values_of(batch.states),
                             targets = values_of(batch.targets);
  const std::vector<int64_t> ids = values_of(batch.inputs.ids), positions = values_of(batch.inputs.positions);
  auto predicted = expand.begin();
  for (const int64_t row : plan.rows_of(plan.batches().front())) {
    for (size_t t = 1; t < kTexts[row].size(); ++t, ++predicted) {
      CHECK(targets[*predicted] == kTexts[row][t]);
      CHECK(ids[states[*predicted]] == kTexts[row][t - 1]);
      CHECK(positions[states[*predicted]] == static_cast<int64_t>(t) - 1);
    }
  }
}

TEST_CASE("prediction plan: prompts alone are shared when asked, and nothing that saves too little") {
  const TokenRows rows = token_rows(kTexts);
  const auto model = hashed_model("gpt2", 2);
  const std::vector<int32_t> prompts{9, 1, 9, 1, 9, 9};
  const std::vector<int64_t> index{0, 1, 2, 4, 5};
  const PredictionPlan plan(rows, prompts, index, 1000, SharedPart::Prompts);
  CHECK(plan.computed_tokens() == 47 - 3 * 8);
  const training::PredictionBatch batch = plan.pack(*model, plan.batches().front());
  CHECK_FALSE(batch.states.defined());
  CHECK_FALSE(batch.expand.defined());
  for (const PredictionPlan& apart : {PredictionPlan(rows, prompts, index, 1000, SharedPart::None),
                                      PredictionPlan(rows, {3, 1, 3, 1, 3, 3}, index, 1000, SharedPart::Prompts)}) {
    CHECK(apart.computed_tokens() == 47);
    CHECK(apart.rows_of(apart.batches().front()) == index);
    CHECK_FALSE(apart.pack(*model, apart.batches().front()).inputs.parents.defined());
  }
  CHECK(error_code([&] { PredictionPlan(rows, prompts, index, 0, SharedPart::None); }) == "E_RANGE");
  std::vector<int32_t> endless(static_cast<size_t>(model->config().max_positions) + 2, 1);
  const TokenRows too_long = token_rows({endless});
  CHECK(error_code([&] {
          static_cast<void>(PredictionPlan(too_long, {1}, {0}, 9999, SharedPart::None).pack(*model, {0, 1}));
        }) == "E_TOO_LONG");
}

TEST_CASE("prediction plan: log-probabilities are those without sharing, in row order, whatever the order and the batches") {
  const TokenRows rows = token_rows(kTexts);
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    CAPTURE(name);
    const auto model = hashed_model(name, 2);
    for (const uint64_t seed : {1, 2, 3}) {
      const TokenRows shuffled = rows.select(training::seeded_permutation(rows.rows(), seed, 0));
      const at::Tensor apart = training::logprob_rows(*model, shuffled, 1000, Job(), false);
      for (const int64_t budget : {1000, 20, 1}) {
        const at::Tensor shared = training::logprob_rows(*model, shuffled, budget, Job());
        CHECK(error_of(shared, apart) < kRegroupTolerance);
        CHECK(error_of(shared, apart.flip(0)) > kRegroupTolerance);
      }
    }
  }
  CHECK(training::logprob_rows(*hashed_model("gpt2", 2), token_rows({{5}, {6}}), 10, Job()).numel() == 0);
}

TEST_CASE("prediction plan: gradients of shared prefixes add up to those of the rows by themselves") {
  const TokenRows rows = token_rows(kTexts);
  const std::vector<int64_t> index{0, 1, 2, 4, 5};
  for (const auto& [share, prompts] : {std::pair(SharedPart::Everything, std::vector<int32_t>(kTexts.size(), 1)),
                                       std::pair(SharedPart::Prompts, std::vector<int32_t>{9, 1, 9, 1, 9, 9})}) {
    const auto model = hashed_model("llama", 3, 0, true);
    model->set_requires_grad(true);
    const auto gradients = [&](SharedPart part, double last_weight) {
      const PredictionPlan plan(rows, prompts, index, 1000, part);
      const training::PolicyForward forward = training::policy_forward(*model, plan.pack(*model, plan.batches().front()), false);
      // Tokens weigh differently, so that none may stand for another.
      const at::Tensor weights = at::arange(1, forward.logprobs.numel() + 1, at::kFloat).sin();
      weights[0] *= last_weight;
      const at::Tensor logprobs = plan.in_row_order(forward.logprobs), values = plan.in_row_order(forward.values);
      (weights * (logprobs + 0.1 * values * values)).sum().backward();
      models::NamedTensors result;
      for (auto& [name, parameter] : model->parameters()) {
        result.emplace_back(name, parameter.grad().clone());
        at::Tensor(parameter).mutable_grad().reset();
      }
      return result;
    };
    const models::NamedTensors shared = gradients(share, 1), apart = gradients(SharedPart::None, 1),
                               others = gradients(SharedPart::None, -1);
    double twin = 0;
    for (size_t i = 0; i < shared.size(); ++i) {
      CAPTURE(shared[i].first);
      CHECK(error_of(shared[i].second, apart[i].second) < kRegroupTolerance);
      twin = std::max(twin, error_of(shared[i].second, others[i].second));
    }
    CHECK(twin > kRegroupTolerance);
  }
}

TEST_CASE("ppo: rollouts and steps whose prompts are shared are those without sharing") {
  for (const int64_t mini_batch_size : {int64_t{3}, int64_t{100}}) {
    for (const int64_t micro_batch_tokens : {int64_t{1000}, int64_t{40}}) {
      CAPTURE(mini_batch_size);
      CAPTURE(micro_batch_tokens);
      std::vector<at::Tensor> logprobs;
      std::vector<std::map<std::string, double>> stats;
      std::vector<models::NamedTensors> weights;
      for (const bool share : {true, false}) {
        PpoCase test(0);
        use_shared_prompts(test);
        training::PpoTrainerOptions options = test.options;
        options.mini_batch_size = mini_batch_size;
        options.micro_batch_tokens = micro_batch_tokens;
        options.ppo_epochs = 2;
        options.share_prefixes = share;
        training::PpoTrainer trainer(test.policy, test.reference, options);
        training::RolloutOptions rollout_options;
        rollout_options.generate.max_new_tokens = 6;
        rollout_options.exact_kl = true;
        const auto rollout = trainer.rollout(test.queries, rollout_options, Job());
        if (mini_batch_size > rollout->prompts.rows() && micro_batch_tokens == 1000) CHECK(rollout->held != nullptr);
        logprobs.push_back(at::cat({rollout->logprobs, rollout->ref_logprobs, rollout->values, rollout->kl_per_token}));
        training::PpoStepInput input = test.input;
        input.permutations.clear();
        const training::PpoStats step = trainer.step(*rollout, input, Job());
        stats.emplace_back(step.begin(), step.end());
        weights.push_back(copies(test.policy->parameters()));
      }
      CHECK(error_of(logprobs[0], logprobs[1]) < kRegroupTolerance);
      CHECK_FALSE(at::equal(logprobs[0], logprobs[1]));  // something was shared
      CHECK(error_of(logprobs[0].flip(0), logprobs[1]) > kRegroupTolerance);
      for (const auto& [name, value] : stats[0]) {
        if (name.starts_with("time/")) continue;
        CAPTURE(name);
        CHECK(std::abs(value - stats[1].at(name)) < kTenStepsTolerance * std::max(1.0, std::abs(value)));
      }
      for (size_t i = 0; i < weights[0].size(); ++i) {
        CHECK(error_of(weights[0][i].second, weights[1][i].second) < kTenStepsTolerance);
      }
    }
  }
}
