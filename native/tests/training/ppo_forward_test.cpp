// A forward that is not computed twice: the rollout's serves the first update, or the sampling stands in for it.
#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <map>

#include "training/ppo_case.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::PpoStats;
using training::PpoStepInput;
using training::PpoTrainer;
using training::PpoTrainerOptions;
using training::RolloutOptions;
using Case = PpoCase;

namespace {

// All rows are one mini-batch of one micro-batch, so that a rollout's forward can be shared.
PpoTrainerOptions whole_batch(const Case& test, bool share) {
  PpoTrainerOptions options = test.options;
  options.mini_batch_size = 100;
  options.ppo_epochs = 2;
  options.share_forward = share;
  return options;
}

RolloutOptions sampled(uint64_t seed) {
  RolloutOptions options;
  options.generate.max_new_tokens = 6;
  options.generate.sampling.seed = seed;
  options.exact_kl = true;
  return options;
}

PpoStats without_times(PpoStats stats) {
  std::erase_if(stats, [](const auto& entry) { return entry.first.starts_with("time/"); });
  return stats;
}

PpoStepInput plain_input(const Case& test) {
  PpoStepInput input = test.input;
  input.permutations.clear();
  return input;
}

}  // namespace

TEST_CASE("ppo: the rollout's forward serves the first update, bit by bit") {
  for (const size_t index : {size_t{0}, size_t{1}}) {
    std::vector<PpoStats> stats;
    std::vector<models::NamedTensors> weights;
    for (const bool share : {true, false}) {
      const Case test(index);
      PpoTrainer trainer(test.policy, test.reference, whole_batch(test, share));
      for (const uint64_t seed : {1, 2}) {
        const auto rollout = trainer.rollout(test.queries, sampled(seed), Job());
        CHECK((rollout->held != nullptr) == share);
        CHECK_FALSE(rollout->logprobs.requires_grad());
        stats.push_back(without_times(trainer.step(*rollout, plain_input(test), Job())));
        if (share) CHECK_FALSE(rollout->held->take(*test.policy, training::row_range(0, test.queries.rows())).has_value());
      }
      weights.push_back(copies(test.policy->parameters()));
    }
    CHECK(stats[0] == stats[2]);
    CHECK(stats[1] == stats[3]);
    CHECK(stats[0] != stats[1]);
    CHECK(same_bits(weights[0], weights[1]));
  }
}

TEST_CASE("ppo: with the shared forward the first ratio is exactly 1") {
  const Case test(0);
  PpoTrainerOptions options = whole_batch(test, true);
  options.ppo_epochs = 1;
  PpoTrainer trainer(test.policy, test.reference, options);
  const PpoStats stats = trainer.step(*trainer.rollout(test.queries, sampled(3), Job()), plain_input(test), Job());
  const std::map<std::string, double> values(stats.begin(), stats.end());
  CHECK(values.at("ppo/policy/ratio") == 1.0);
  CHECK(values.at("ppo/policy/approxkl") == 0.0);
}

TEST_CASE("ppo: a forward of weights that have moved since is not used") {
  std::vector<PpoStats> stats;
  std::vector<models::NamedTensors> weights;
  for (const bool share : {true, false}) {
    const Case test(0);
    PpoTrainer trainer(test.policy, test.reference, whole_batch(test, share));
    const auto early = trainer.rollout(test.queries, sampled(1), Job()), late = trainer.rollout(test.queries, sampled(2), Job());
    PpoStepInput input = plain_input(test);
    input.lr = 0.01;
    trainer.step(*late, input, Job());
    stats.push_back(without_times(trainer.step(*early, input, Job())));
    weights.push_back(copies(test.policy->parameters()));
  }
  CHECK(stats[0] == stats[1]);
  CHECK(same_bits(weights[0], weights[1]));
}

TEST_CASE("ppo: what is not one mini-batch and one micro-batch holds no forward, and another policy cannot take it") {
  const Case test(0);
  const auto held = [&](const auto& change) {
    PpoTrainerOptions options = whole_batch(test, true);
    RolloutOptions rollout = sampled(1);
    change(options, rollout);
    return PpoTrainer(test.policy, test.reference, options).rollout(test.queries, rollout, Job())->held;
  };
  CHECK(held([](auto& options, auto&) { options.mini_batch_size = 4; }) == nullptr);
  CHECK(held([](auto& options, auto&) { options.micro_batch_tokens = 13; }) == nullptr);
  CHECK(held([](auto&, auto& rollout) { rollout.batch_tokens = 20; }) == nullptr);
  const auto forward = held([](auto&, auto&) {});
  REQUIRE(forward != nullptr);
  const std::vector<int64_t> rows = training::row_range(0, test.queries.rows());
  CHECK_FALSE(forward->take(*test.policy->clone(), rows).has_value());
  CHECK_FALSE(forward->take(*test.policy, {rows.rbegin(), rows.rend()}).has_value());
  CHECK(forward->take(*test.policy, rows).has_value());
  CHECK_FALSE(forward->take(*test.policy, rows).has_value());
}

TEST_CASE("ppo: old log-probs and values from the sampling are those of a forward, up to rounding") {
  const Case test(0);
  PpoTrainerOptions options = whole_batch(test, true);
  options.old_from_sampling = true;
  PpoTrainer trainer(test.policy, test.reference, options), plain(test.policy, test.reference, whole_batch(test, false));
  RolloutOptions warm = sampled(5);
  warm.generate.sampling.temperature = 1.5;
  warm.generate.sampling.top_k = 20;  // neither changes what the old log-probs are of
  for (RolloutOptions rollout : {sampled(4), warm}) {
    for (const bool exact_kl : {true, false}) {
      rollout.exact_kl = exact_kl;
      const auto drawn = trainer.rollout(test.queries, rollout, Job()), forward = plain.rollout(test.queries, rollout, Job());
      REQUIRE(drawn->responses.ids == forward->responses.ids);
      CHECK(drawn->held == nullptr);
      CHECK((drawn->logprobs - forward->logprobs).abs().max().item<double>() < kStepTolerance);
      CHECK((drawn->values - forward->values).abs().max().item<double>() < kStepTolerance);
      CHECK(drawn->exact_kl_sums == forward->exact_kl_sums);
      CHECK((drawn->logprobs - forward->ref_logprobs).abs().max().item<double>() > kStepTolerance);  // the twin
    }
  }
  const PpoStats stats = trainer.step(*trainer.rollout(test.queries, sampled(4), Job()), plain_input(test), Job());
  const std::map<std::string, double> values(stats.begin(), stats.end());
  CHECK(values.at("ppo/policy/first_ratio_error") < kStepTolerance);
  RolloutOptions held_back = sampled(4);
  held_back.generate.min_new_tokens = 2;
  CHECK(error_code([&] { trainer.rollout(test.queries, held_back, Job()); }) == "E_RANGE");
}
