#include "training/ppo_trainer.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "training/golden.h"
#include "training/inference.h"
#include "training/permutation.h"
#include "training/ppo_case.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::PpoStats;
using training::PpoStepInput;
using training::PpoTrainer;
using training::PpoTrainerOptions;
using training::Rollout;
using training::RolloutOptions;
using training::TokenRows;

namespace {

using Case = PpoCase;

double worst(const at::Tensor& values, const std::vector<double>& expected) {
  double error = values.numel() == static_cast<int64_t>(expected.size()) ? 0 : INFINITY;
  for (size_t i = 0; i < expected.size(); ++i) error = std::max(error, std::abs(values[i].item<double>() - expected[i]));
  return error;
}

struct Errors {
  double stats = 0;
  Difference parameters;
  std::string stat;
};

Errors replay(const Case& test, const PpoTrainerOptions& options) {
  PpoTrainer trainer(test.policy, test.reference, options);
  const PpoStats stats = trainer.step(*test.evaluate(), test.input, Job());
  const std::map<std::string, double> values(stats.begin(), stats.end());
  Errors errors;
  for (const auto& [name, expected] : member(test.record, "stats").as_object("stats")) {
    const double value = values.contains(name) ? values.at(name) : INFINITY;
    // Means of whitened advantages are 0 up to rounding: absolute there, below 0.1.
    const double error = std::abs(value - expected.as_number(name)) / std::max(0.1, std::abs(expected.as_number(name)));
    if (error > errors.stats) {
      errors.stats = error;
      errors.stat = name;
    }
  }
  if (values.at("ppo/updates") != number(test.record, "updates")) errors.stats = INFINITY;
  errors.parameters = worst_difference(test.policy->parameters(), member(test.record, "parameters"), kFloor);
  return errors;
}

constexpr size_t kCases = 6;

}  // namespace

TEST_CASE("ppo: log-probs, values and exact KL of a rollout as PyTorch") {
  for (size_t index = 0; index < kCases; ++index) {
    const Case test(index);
    for (const int64_t batch_tokens : {1000, 20}) {
      const auto rollout = test.evaluate(batch_tokens);
      const std::vector<double> expected = numbers(member(test.record, "logprobs"));
      CHECK(worst(rollout->logprobs, expected) < kStepTolerance);
      CHECK(worst(rollout->ref_logprobs, numbers(member(test.record, "ref_logprobs"))) < kStepTolerance);
      CHECK(worst(rollout->values, numbers(member(test.record, "values"))) < kStepTolerance);
      const std::vector<double> exact = numbers(member(test.record, "exact_kl"));
      for (size_t row = 0; row < exact.size(); ++row)
        CHECK(std::abs(rollout->exact_kl_sums[row] - exact[row]) < 2 * kStepTolerance);
      // The same from whole rows.
      const auto again =
          training::exact_kl(*test.policy, *test.reference, training::concatenate_rows(test.queries, test.responses),
                             test.queries.lengths, batch_tokens, Job());
      for (size_t row = 0; row < exact.size(); ++row) CHECK(std::abs(again[row] - exact[row]) < 2 * kStepTolerance);
      // The twin: the log-probs of the reference are not those of the policy.
      CHECK(worst(rollout->ref_logprobs, expected) > kStepTolerance);
    }
  }
}

TEST_CASE("ppo: a whole step with mini-batches as classic TRL") {
  for (size_t index = 0; index < kCases; ++index) {
    for (const int64_t micro_batch_tokens : {1000, 13}) {
      const Case test(index);
      PpoTrainerOptions options = test.options;
      options.micro_batch_tokens = micro_batch_tokens;
      const Errors errors = replay(test, options);
      CAPTURE(index);
      CAPTURE(micro_batch_tokens);
      CAPTURE(errors.stat);
      INFO(test.name, " stats ", errors.stats, " (", errors.stat, ") parameters ", errors.parameters.value, " (",
           errors.parameters.name, ")");
      CHECK(errors.stats < kTenStepsTolerance);
      CHECK(errors.parameters.value < kTenStepsTolerance);
    }
  }
}

TEST_CASE("ppo: one setting off is seen (twins)") {
  const auto differs = [](size_t index, const auto& change) {
    Case test(index);
    PpoTrainerOptions options = test.options;
    change(options, test.input);
    const Errors errors = replay(test, options);
    return errors.stats > kTenStepsTolerance && errors.parameters.value > kTenStepsTolerance;
  };
  CHECK(differs(0, [](auto& options, auto&) { options.lambda = 0.94; }));
  CHECK(differs(0, [](auto& options, auto&) { options.gamma = 0.99; }));
  CHECK(differs(0, [](auto& options, auto&) { options.vf_coef = 0.11; }));
  CHECK(differs(0, [](auto& options, auto&) { options.clip_range = 0.15; }));
  CHECK(differs(5, [](auto& options, auto&) { options.clip_range_value = 0.2; }));
  CHECK(differs(0, [](auto& options, auto&) { options.whiten_advantages = false; }));
  CHECK(differs(1, [](auto& options, auto&) { options.whiten_rewards = false; }));
  CHECK(differs(1, [](auto& options, auto&) { options.kl_estimator = kernels::KlEstimator::Kl; }));
  CHECK(differs(2, [](auto& options, auto&) { options.ratio_threshold = 10; }));
  CHECK(differs(3, [](auto& options, auto&) { options.early_stopping = false; }));
  CHECK(differs(4, [](auto& options, auto&) { options.mini_batch_size = 4; }));
  CHECK(differs(0, [](auto&, auto& input) { input.kl_weights[2] *= 1.2f; }));
  CHECK(differs(0, [](auto&, auto& input) { input.scores[5] += 0.01f; }));
  CHECK(differs(0, [](auto&, auto& input) { std::swap(input.permutations[0], input.permutations[5]); }));
}

TEST_CASE("ppo: the first update of a batch-sized mini-batch has ratio 1") {
  const Case test(0);
  PpoTrainerOptions options = test.options;
  options.mini_batch_size = 100;
  options.ppo_epochs = 1;
  PpoTrainer trainer(test.policy, test.reference, options);
  PpoStepInput input = test.input;
  input.permutations.clear();
  const PpoStats stats = trainer.step(*test.evaluate(), input, Job());
  const std::map<std::string, double> values(stats.begin(), stats.end());
  CHECK(values.at("ppo/policy/ratio") == doctest::Approx(1.0).epsilon(1e-5));
  CHECK(values.at("ppo/policy/clipfrac") == 0.0);
  CHECK(std::abs(values.at("ppo/policy/policykl")) < 1e-5);
  CHECK(values.at("ppo/updates") == 1.0);
}

TEST_CASE("ppo: a constant weight is vanilla PPO at that coefficient, bit by bit; the seed decides the order") {
  const auto run = [](uint64_t seed) {
    const Case test(0);
    PpoTrainer trainer(test.policy, test.reference, test.options);
    PpoStepInput input = test.input;
    input.permutations.clear();
    input.seed = seed;
    input.kl_weights.assign(8, 0.1f);
    trainer.step(*test.evaluate(), input, Job());
    return copies(test.policy->parameters());
  };
  CHECK(same_bits(run(1), run(1)));
  CHECK_FALSE(same_bits(run(1), run(2)));
}

TEST_CASE("ppo: rollouts are reproducible, and their log-probs are those of the sampled tokens") {
  const Case test(0);
  PpoTrainer trainer(test.policy, test.reference, test.options);
  RolloutOptions options;
  options.generate.max_new_tokens = 6;
  options.generate.sampling.seed = 7;
  options.exact_kl = true;
  const auto rollout = trainer.rollout(test.queries, options, Job());
  options.batch_tokens = 10;  // a row at a time
  const auto split = trainer.rollout(test.queries, options, Job());
  CHECK(rollout->responses.ids == split->responses.ids);
  CHECK(rollout->responses.lengths == split->responses.lengths);
  CHECK((rollout->logprobs - split->logprobs).abs().max().item<double>() < kStepTolerance);

  const TokenRows rows = training::concatenate_rows(rollout->prompts, rollout->responses);
  const at::Tensor all = training::logprob_rows(*test.policy, rows, 100, Job());
  int64_t response_token = 0, token = 0;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    double sum = 0;
    for (int32_t t = 1; t < rows.lengths[row]; ++t, ++token) {
      if (t < rollout->prompts.lengths[row]) continue;
      CHECK(std::abs(all[token].item<double>() - rollout->logprobs[response_token].item<double>()) < kStepTolerance);
      sum += (rollout->logprobs[response_token] - rollout->ref_logprobs[response_token]).item<double>();
      ++response_token;
    }
    CHECK(rollout->kl_sums[row] == doctest::Approx(sum).epsilon(1e-5));
    CHECK(rollout->exact_kl_sums[row] >= 0);
  }
  CHECK(response_token == rollout->logprobs.size(0));
}

TEST_CASE("ppo: cancelled before the first update nothing has changed; after it the step finishes") {
  const Case test(0);
  PpoTrainerOptions options = test.options;
  options.micro_batch_tokens = 10;
  PpoTrainer trainer(test.policy, test.reference, options);
  const auto rollout = test.evaluate();
  const auto before = copies(test.policy->parameters());
  const auto token = std::make_shared<CancelToken>();
  token->cancel();
  CHECK(error_code([&] { trainer.step(*rollout, test.input, Job(token, nullptr)); }) == "E_CANCELLED");
  CHECK(same_bits(before, copies(test.policy->parameters())));

  const auto late = std::make_shared<CancelToken>();
  int64_t updates = 0;
  const Job job(late, [&](int64_t done, int64_t) {
    updates = done;
    late->cancel();
  });
  trainer.step(*rollout, test.input, job);
  CHECK(updates == 9);
  CHECK(worst_difference(test.policy->parameters(), member(test.record, "parameters"), kFloor).value < kTenStepsTolerance);
  // A cancelled rollout is refused too.
  CHECK(error_code([&] { trainer.rollout(test.queries, {}, Job(token, nullptr)); }) == "E_CANCELLED");
}

TEST_CASE("ppo: resumed training is bit-exact") {
  const Case test(0);
  PpoTrainer trainer(test.policy, test.reference, test.options);
  const auto rollout = test.evaluate();
  trainer.step(*rollout, test.input, Job());
  const TemporaryFile state("ppo-state");
  trainer.save_state(state.path());
  const auto resumed_policy = test.policy->clone(), forgetful_policy = test.policy->clone();
  PpoTrainer resumed(resumed_policy, test.reference, test.options), forgetful(forgetful_policy, test.reference, test.options);
  resumed.load_state(state.path());
  for (int i = 0; i < 3; ++i) {
    trainer.step(*rollout, test.input, Job());
    resumed.step(*rollout, test.input, Job());
    forgetful.step(*rollout, test.input, Job());
  }
  CHECK(same_bits(copies(test.policy->parameters()), copies(resumed_policy->parameters())));
  CHECK_FALSE(same_bits(copies(test.policy->parameters()), copies(forgetful_policy->parameters())));
}

TEST_CASE("ppo: non-finite values are refused and leave policy and optimiser alone") {
  const Case test(0);
  PpoTrainer trainer(test.policy, test.reference, test.options);
  const auto rollout = test.evaluate();
  const auto before = copies(test.policy->parameters());
  PpoStepInput input = test.input;
  input.scores[3] = std::nanf("");
  CHECK(error_code([&] { trainer.step(*rollout, input, Job()); }) == "E_NON_FINITE");
  Rollout broken = *rollout;
  broken.ref_logprobs = broken.ref_logprobs.clone();
  broken.ref_logprobs[0] = std::nan("");
  CHECK(error_code([&] { trainer.step(broken, test.input, Job()); }) == "E_NON_FINITE");
  CHECK(same_bits(before, copies(test.policy->parameters())));
}

TEST_CASE("ppo: wrong arguments are named") {
  const Case test(0);
  PpoTrainer trainer(test.policy, test.reference, test.options);
  const auto rollout = test.evaluate();
  const auto step_code = [&](const auto& change) {
    PpoStepInput input = test.input;
    change(input);
    return error_code([&] { trainer.step(*rollout, input, Job()); });
  };
  CHECK(step_code([](auto& input) { input.scores.pop_back(); }) == "E_SHAPE");
  CHECK(step_code([](auto& input) { input.kl_weights.push_back(1); }) == "E_SHAPE");
  CHECK(step_code([](auto& input) { input.kl_weights[0] = -1; }) == "E_RANGE");
  CHECK(step_code([](auto& input) { input.lr = -1; }) == "E_RANGE");
  CHECK(step_code([](auto& input) { input.permutations[0] = input.permutations[1]; }) == "E_RANGE");
  CHECK(step_code([](auto& input) { input.permutations.pop_back(); }) == "E_SHAPE");
  CHECK(error_code([&] { PpoTrainer(test.policy, test.policy, test.options); }) == "E_RANGE");
  CHECK(error_code([&] { PpoTrainer(test.reference, test.policy, test.options); }) == "E_NO_HEAD");
  CHECK(error_code([&] { PpoTrainer(test.policy, hashed_model("llama", 1), test.options); }) == "E_SHAPE");
  RolloutOptions too_long;
  too_long.generate.max_new_tokens = 40;
  CHECK(error_code([&] { trainer.rollout(test.queries, too_long, Job()); }) == "E_TOO_LONG");
  const TokenRows rows{{1, 2, 3}, {3}};
  CHECK(error_code([&] { training::exact_kl(*test.policy, *test.reference, rows, {3}, 10, Job()); }) == "E_RANGE");
  CHECK(error_code([&] { training::exact_kl(*test.policy, *test.reference, rows, {}, 10, Job()); }) == "E_SHAPE");
}

// One update: Adam divides the rounding of small gradients by their size, so that later updates start from other weights.
TEST_CASE("ppo: a bfloat16 policy takes the step of the float32 one, up to bfloat16's rounding") {
  const Case test(1);
  PpoStepInput input = test.input;
  input.permutations.clear();  // of one epoch that is one mini-batch
  const auto run = [&](at::ScalarType dtype) {
    const auto policy = hashed_model("gpt2", 3, 0, true, dtype), reference = hashed_model("gpt2", 4, 0, false, dtype);
    PpoTrainerOptions options = test.options;
    options.micro_batch_tokens = 13;
    options.ppo_epochs = 1;
    options.mini_batch_size = test.queries.rows();
    PpoTrainer trainer(policy, reference, options);
    RolloutOptions rollout;
    rollout.exact_kl = true;
    const PpoStats stats = trainer.step(
        *training::evaluate_responses(*policy, *reference, test.queries, test.responses, rollout, Job()), input, Job());
    return std::map<std::string, double>(stats.begin(), stats.end());
  };
  const auto exact = run(at::kFloat), rounded = run(at::kBFloat16);
  for (const char* name : {"objective/kl", "ppo/returns/mean", "ppo/policy/entropy", "ppo/loss/value", "ppo/grad_norm"}) {
    CAPTURE(name);
    CHECK(std::abs(rounded.at(name) - exact.at(name)) < 0.01 * std::max(1.0, std::abs(exact.at(name))));
  }
}

TEST_CASE("ppo: progress of a rollout counts rows over all micro-batches, and a cancel stops it between tokens") {
  const Case test(0);
  PpoTrainer trainer(test.policy, test.reference, test.options);
  RolloutOptions options;
  options.generate.max_new_tokens = 6;
  options.batch_tokens = 20;
  std::vector<int64_t> seen;
  const auto token = std::make_shared<CancelToken>();
  trainer.rollout(test.queries, options, Job(token, [&](int64_t done, int64_t total) {
                    CHECK(total == 8);
                    seen.push_back(done);
                  }));
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == 8);
  const Job cancelling(token, [&](int64_t, int64_t) { token->cancel(); });
  CHECK(error_code([&] { trainer.rollout(test.queries, options, cancelling); }) == "E_CANCELLED");
}

TEST_CASE("permutations: every row once, the same everywhere, another in each epoch") {
  // Written out, so that another platform or compiler cannot quietly draw another order.
  CHECK(training::seeded_permutation(8, 0, 0) != training::seeded_permutation(8, 0, 1));
  for (const int64_t count : {1, 2, 7, 64}) {
    auto order = training::seeded_permutation(count, 12345, 3);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < count; ++i) CHECK(order[i] == i);
  }
  std::vector<int> first(5, 0);
  for (uint64_t seed = 0; seed < 5000; ++seed) ++first[training::seeded_permutation(5, seed, 0)[0]];
  for (const int count : first) CHECK(std::abs(count - 1000) < 150);  // five standard deviations
}
