// PPO in bf16 with fp32 master weights learns as PPO in fp32 does: the curve over 20 steps, not a single step.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "training/ppo_trainer.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::TokenRows;

namespace {

constexpr int kSteps = 20, kSeeds = 4, kLast = 5;
constexpr int64_t kRows = 64, kVocab = 97;

std::shared_ptr<models::Model> small_gpt2(at::ScalarType dtype, uint64_t seed) {
  models::LoadOptions options;
  options.dtype = dtype;
  options.seed = seed;
  auto model = models::Model::create(
      R"({"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"vocab_size":97,"n_positions":32,"n_embd":48,"n_layer":2,)"
      R"("n_head":4,"activation_function":"gelu_new","layer_norm_epsilon":1e-5,"initializer_range":0.02})",
      options);
  return model;
}

// The reward of a response: the share of its tokens that are multiples of four. A policy that knows nothing gets a quarter.
std::vector<float> scores_of(const TokenRows& responses) {
  std::vector<float> scores;
  auto id = responses.ids.begin();
  for (const int32_t length : responses.lengths) {
    int32_t hits = 0;
    for (int32_t t = 0; t < length; ++t) hits += *id++ % 4 == 0 ? 1 : 0;
    scores.push_back(static_cast<float>(hits) / static_cast<float>(length));
  }
  return scores;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Mean reward of each step.
std::vector<double> curve(at::ScalarType dtype, uint64_t seed, double lr) {
  const auto policy = small_gpt2(dtype, seed);
  policy->add_value_head(seed);
  const auto reference = policy->clone();
  training::PpoTrainer trainer(policy, reference, {});
  TokenRows prompts;
  for (int64_t row = 0; row < kRows; ++row) {
    prompts.lengths.push_back(2);
    prompts.ids.insert(prompts.ids.end(), {static_cast<int32_t>(row % kVocab), static_cast<int32_t>(7 * row % kVocab)});
  }
  std::vector<double> rewards;
  for (uint64_t step = 0; step < kSteps; ++step) {
    training::RolloutOptions options;
    options.generate.max_new_tokens = 8;
    options.generate.sampling.seed = 1000 * seed + step;
    const auto rollout = trainer.rollout(prompts, options, Job());
    training::PpoStepInput input;
    input.scores = scores_of(rollout->responses);
    input.kl_weights.assign(kRows, 0.02f);
    input.lr = lr;
    input.seed = step;
    rewards.push_back(std::accumulate(input.scores.begin(), input.scores.end(), 0.0) / static_cast<double>(kRows));
    trainer.step(*rollout, input, Job());
  }
  return rewards;
}

struct Learned {
  double begin = 0, end = 0;  // mean reward of the first step and of the last kLast steps, over seeds
};

Learned learn(at::ScalarType dtype, double lr) {
  std::vector<double> begin, end;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::vector<double> rewards = curve(dtype, seed, lr);
    begin.push_back(rewards.front());
    end.push_back(mean({rewards.end() - kLast, rewards.end()}));
  }
  return {mean(begin), mean(end)};
}

}  // namespace

TEST_CASE("ppo: 20 steps in bfloat16 learn what 20 steps in float32 learn") {
  constexpr double kLr = 1e-3;
  const Learned exact = learn(at::kFloat, kLr), rounded = learn(at::kBFloat16, kLr);
  INFO("float32 ", exact.begin, " to ", exact.end, ", bfloat16 ", rounded.begin, " to ", rounded.end);
  CHECK(std::abs(exact.begin - 0.25) < kCurveTolerance);
  CHECK(exact.end > 0.7);  // there is something to hold the curve against
  CHECK(std::abs(rounded.end - exact.end) < kCurveTolerance);
  // The twin: a rate a third smaller is seen.
  CHECK(exact.end - learn(at::kBFloat16, kLr * 2 / 3).end > kCurveTolerance);
}
