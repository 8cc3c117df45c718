// Several ranks take the steps that a single process takes.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/allocation_peak.h"
#include "support/ranks.h"
#include "support/temporary_folder.h"
#include "training/golden.h"
#include "training/inference.h"
#include "training/language_model_trainer.h"
#include "training/ppo_case.h"
#include "training/ppo_trainer.h"
#include "training/reward_trainer.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::Group;
using training::TokenRows;

namespace {

const TokenRows kChosen{{1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 4, 9, 9, 3, 1}, {5, 6, 2, 2}};
const TokenRows kRejected{{1, 2, 8, 4, 5, 6, 1, 8, 4, 4, 7}, {4, 3, 3, 1}};

struct Outcome {
  models::NamedTensors parameters;
  std::map<std::string, double> numbers;
};

// `train(group)` on every rank; checks that all of them end with the same bits.
Outcome on_ranks(int size, const std::function<Outcome(const Group&)>& train) {
  if (size == 1) return train(nullptr);
  std::vector<Outcome> outcomes(static_cast<size_t>(size));
  run_ranks(size, [&](const Group& group) { outcomes[static_cast<size_t>(group->rank())] = train(group); });
  for (const Outcome& outcome : outcomes) {
    CHECK(same_bits(outcome.parameters, outcomes.front().parameters));
    CHECK(outcome.numbers == outcomes.front().numbers);
  }
  return outcomes.back();
}

double parameter_error(const Outcome& a, const Outcome& b) {
  double worst = 0;
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    const at::Tensor expected = b.parameters[i].second.to(at::kFloat);
    const double scale = std::max(kFloor, expected.abs().max().item<double>());
    worst = std::max(worst, (a.parameters[i].second.to(at::kFloat) - expected).abs().max().item<double>() / scale);
  }
  return worst;
}

double number_error(const Outcome& a, const Outcome& b) {
  double worst = a.numbers.size() == b.numbers.size() ? 0 : 1e9;
  for (const auto& [name, value] : a.numbers) {
    if (name.rfind("time/", 0) == 0) continue;
    worst = std::max(worst, std::abs(value - b.numbers.at(name)) / std::max(0.1, std::abs(value)));
  }
  return worst;
}

// Less than the smallest parameter: a bucket each. Most parameters of the tiny models: several buckets of several each.
constexpr int64_t kTinyBucket = 1, kSmallBucket = 4096;

Outcome reward(const Group& group, at::ScalarType dtype, int64_t batch_tokens, int64_t rows = 4,
               const training::OptimizerOptions& more = {}) {
  std::vector<int64_t> index;
  for (int64_t row = 0; row < rows; ++row) index.push_back(row);
  const auto model = hashed_model("gemma", 3, 2, false, dtype);
  training::OptimizerOptions optimizer = more;
  optimizer.weight_decay = 0.1;
  optimizer.max_grad_norm = 1.0;
  optimizer.group = group;
  training::RewardTrainer trainer(model, {.optimizer = optimizer, .batch_tokens = batch_tokens});
  Outcome outcome;
  for (int i = 0; i < 3; ++i) {
    const auto step = trainer.step(kChosen.select(index), kRejected.select(index), 1e-3, Job());
    outcome.numbers = {{"loss", step.loss},
                       {"accuracy", step.accuracy},
                       {"norm", step.grad_norm},
                       {"head", step.loss_per_head[1]},
                       {"tokens", static_cast<double>(step.tokens + step.computed_tokens)}};
  }
  outcome.parameters = copies(model->parameters());
  return outcome;
}

Outcome language(const Group& group, int64_t batch_tokens) {
  const auto model = hashed_model("llama", 3);  // GPT-2's key biases have gradients of rounding alone
  training::LanguageModelTrainer trainer(model, {.group = group}, batch_tokens);
  Outcome outcome;
  for (int i = 0; i < 3; ++i) {
    const auto step = trainer.step(kChosen, 1e-3, Job());
    outcome.numbers = {{"loss", step.loss}, {"norm", step.grad_norm}, {"tokens", static_cast<double>(step.tokens)}};
  }
  outcome.parameters = copies(model->parameters());
  return outcome;
}

// A whole PPO step of a recorded case; what is random comes from the keys of rows.
Outcome ppo(const Group& group, size_t index, int64_t micro_batch_tokens, bool from_sampling = false,
            const training::OptimizerOptions& more = {}) {
  const PpoCase test(index);
  training::PpoTrainerOptions options = test.options;
  options.optimizer.bucket_bytes = more.bucket_bytes;
  options.optimizer.shard_states = more.shard_states;
  options.optimizer.group = group;
  options.micro_batch_tokens = micro_batch_tokens;
  options.old_from_sampling = from_sampling;
  training::PpoTrainer trainer(test.policy, test.reference, options);
  training::RolloutOptions sampling;
  sampling.generate.max_new_tokens = 6;
  sampling.generate.eos_token_ids = {3};
  sampling.generate.sampling.seed = 7;
  sampling.batch_tokens = 1000;
  sampling.exact_kl = true;
  const auto rollout = trainer.rollout(test.queries, sampling, Job());
  training::PpoStepInput input = test.input;
  Outcome outcome;
  for (const auto& [name, value] : trainer.step(*rollout, input, Job())) {
    if (name.rfind("time/", 0) != 0) outcome.numbers[name] = value;
  }
  for (size_t token = 0; token < rollout->responses.ids.size(); ++token) {
    outcome.numbers["token " + std::to_string(token)] = rollout->responses.ids[token];
  }
  outcome.numbers["kl of row 0"] = rollout->kl_sums.front();
  outcome.numbers["exact kl of row 0"] = rollout->exact_kl_sums.front();
  outcome.parameters = copies(test.policy->parameters());
  return outcome;
}

}  // namespace

TEST_CASE("ranks: reward steps are those of a single process") {
  for (const int64_t batch_tokens : {1000, 12}) {
    const Outcome one = reward(nullptr, at::kFloat, batch_tokens);
    for (const int size : {2, 3}) {
      const Outcome several = on_ranks(size, [&](const Group& group) { return reward(group, at::kFloat, batch_tokens); });
      CHECK(parameter_error(several, one) < kStepTolerance);
      CHECK(number_error(several, one) < kStepTolerance);
    }
  }
  // Fewer pairs than ranks: one has nothing to do but to add up.
  const Outcome one = reward(nullptr, at::kFloat, 1000, 1);
  const Outcome two = on_ranks(2, [](const Group& group) { return reward(group, at::kFloat, 1000, 1); });
  CHECK(parameter_error(two, one) < kStepTolerance);
}

TEST_CASE("ranks: without the sum over ranks the steps are others (twin)") {
  const Outcome all = reward(nullptr, at::kFloat, 1000), part = reward(nullptr, at::kFloat, 1000, 2);
  CHECK(parameter_error(part, all) > kStepTolerance);
  CHECK(number_error(part, all) > kStepTolerance);
}

TEST_CASE("ranks: bfloat16 gradients are added up in fp32") {
  const Outcome one = reward(nullptr, at::kBFloat16, 1000);
  const Outcome two = on_ranks(2, [](const Group& group) { return reward(group, at::kBFloat16, 1000); });
  // Each rank rounds its own part of a gradient to 8 bits; a step of Adam is as long whatever the gradient's size.
  CHECK(parameter_error(two, one) < 0.05);
  CHECK(number_error(two, one) < 0.05);
}

TEST_CASE("ranks: language-model steps are those of a single process") {
  for (const int64_t batch_tokens : {1000, 6}) {
    const Outcome one = language(nullptr, batch_tokens);
    const Outcome two = on_ranks(2, [&](const Group& group) { return language(group, batch_tokens); });
    CHECK(parameter_error(two, one) < kTenStepsTolerance);
    CHECK(number_error(two, one) < kStepTolerance);
  }
}

TEST_CASE("ranks: PPO steps are those of a single process, responses token for token") {
  for (const size_t index : {size_t{0}, size_t{1}, size_t{3}}) {
    for (const int64_t micro : {1000, 20}) {
      CAPTURE(index);
      CAPTURE(micro);
      const Outcome one = ppo(nullptr, index, micro);
      const Outcome two = on_ranks(2, [&](const Group& group) { return ppo(group, index, micro); });
      CHECK(parameter_error(two, one) < kTenStepsTolerance);
      CHECK(number_error(two, one) < kTenStepsTolerance);
    }
  }
  const Outcome one = ppo(nullptr, 0, 1000, true);
  const Outcome three = on_ranks(3, [](const Group& group) { return ppo(group, 0, 1000, true); });
  CHECK(parameter_error(three, one) < kTenStepsTolerance);
  CHECK(number_error(three, one) < kTenStepsTolerance);
}

TEST_CASE("ranks: gradients that travel in many buckets are those that travel in one, states whole or sharded") {
  const Outcome one_reward = reward(nullptr, at::kFloat, 12), one_ppo = ppo(nullptr, 0, 20);
  for (const bool sharded : {false, true}) {
    training::OptimizerOptions whole;
    whole.shard_states = sharded;
    // Micro-batches of few tokens: gradients of earlier backwards are in the sums that travel.
    const Outcome reward_whole = on_ranks(2, [&](const Group& group) { return reward(group, at::kFloat, 12, 4, whole); });
    const Outcome ppo_whole = on_ranks(2, [&](const Group& group) { return ppo(group, 0, 20, false, whole); });
    for (const int64_t bytes : {kTinyBucket, kSmallBucket}) {
      CAPTURE(sharded);
      CAPTURE(bytes);
      training::OptimizerOptions options = whole;
      options.bucket_bytes = bytes;
      const Outcome two_reward = on_ranks(2, [&](const Group& group) { return reward(group, at::kFloat, 12, 4, options); });
      const Outcome two_ppo = on_ranks(2, [&](const Group& group) { return ppo(group, 0, 20, false, options); });
      // A sum of two numbers is the same in whichever company they travel.
      CHECK(same_bits(two_reward.parameters, reward_whole.parameters));
      CHECK(same_bits(two_ppo.parameters, ppo_whole.parameters));
      CHECK(parameter_error(two_reward, one_reward) < kStepTolerance);
      CHECK(parameter_error(two_ppo, one_ppo) < kTenStepsTolerance);
    }
  }
  // One rank has no row, so nothing of a backward: its empty buckets go out at the end.
  training::OptimizerOptions tiny;
  tiny.bucket_bytes = kTinyBucket;
  const Outcome one = reward(nullptr, at::kFloat, 1000, 1);
  const Outcome two = on_ranks(2, [&](const Group& group) { return reward(group, at::kFloat, 1000, 1, tiny); });
  CHECK(parameter_error(two, one) < kStepTolerance);
}

TEST_CASE("ranks: the small buckets of these tests are several (twin)") {
  run_ranks(2, [](const Group& group) {
    const auto model = hashed_model("gemma", 3, 2);
    std::vector<at::Tensor> parameters;
    for (const auto& [name, tensor] : model->parameters()) parameters.push_back(tensor);
    const auto take = [](size_t) { return at::Tensor(); };
    const auto buckets = [&](int64_t bytes) { return training::GradientReducer(group, parameters, take, bytes).buckets(); };
    CHECK(buckets(training::GradientReducer::kBucketBytes) == 1);
    CHECK(buckets(kTinyBucket) == parameters.size());
    CHECK(buckets(kSmallBucket) > 2);
    CHECK(buckets(kSmallBucket) < parameters.size());
  });
}

TEST_CASE("ranks: scores and features are computed in parts, to the bit") {
  const auto model = hashed_model("llama", 3, 2);
  for (const int64_t batch_tokens : {1000, 6}) {
    const at::Tensor scores = training::score_rows(*model, kChosen, batch_tokens, Job());
    const at::Tensor features = training::feature_rows(*model, kChosen, batch_tokens, Job());
    run_ranks(3, [&](const Group& group) {
      CHECK(at::equal(training::score_rows(*model, kChosen, batch_tokens, Job(), true, group), scores));
      CHECK(at::equal(training::feature_rows(*model, kChosen, batch_tokens, Job(), true, {}, group), features));
    });
  }
}

TEST_CASE("ranks: other weights on one of them are found at the start") {
  std::mutex mutex;
  int refused = 0;
  run_ranks(2, [&](const Group& group) {
    const auto model = hashed_model("gpt2", group->rank() == 0 ? 3 : 4, 1);
    const std::string code =
        error_code([&] { training::RewardTrainer(model, {.optimizer = {.group = group}, .batch_tokens = 100}); });
    const std::lock_guard lock(mutex);
    refused += code == "E_STATE" ? 1 : 0;
  });
  CHECK(refused == 2);
}

TEST_CASE("ranks: sharded states take the same steps, and any number of ranks goes on from what they saved") {
  const TemporaryFolder folder;
  const auto options = [](const Group& group, bool sharded) {
    return training::RewardTrainerOptions{
        .optimizer = {.weight_decay = 0.1, .max_grad_norm = 1.0, .group = group, .shard_states = sharded}, .batch_tokens = 1000};
  };
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto start = [&] { return hashed_model("gemma", 3, 2, false, dtype); };
    // Two steps, saved, two more.
    const auto train = [&](const Group& group, bool sharded, const std::string& file) {
      const auto model = start();
      training::RewardTrainer trainer(model, options(group, sharded));
      for (int i = 0; i < 2; ++i) trainer.step(kChosen, kRejected, 1e-3, Job());
      const auto halfway = model->clone();
      if (sharded || group->rank() == 0) trainer.save_state(group->rank() == 0 ? folder.file(file) : "");
      for (int i = 0; i < 2; ++i) trainer.step(kChosen, kRejected, 1e-3, Job());
      return std::pair(halfway, copies(model->parameters()));
    };
    for (const int size : {2, 3}) {
      std::shared_ptr<models::Model> halfway;
      models::NamedTensors plain, sharded;
      int64_t whole = 0, part = 0;
      run_ranks(size, [&](const Group& group) {
        AllocationPeak memory;
        const auto [model, parameters] = train(group, false, "plain");
        if (group->rank() > 0) return;
        plain = parameters;
        whole = memory.peak();
      });
      run_ranks(size, [&](const Group& group) {
        AllocationPeak memory;
        const auto [model, parameters] = train(group, true, "sharded");
        if (group->rank() > 0) return;
        halfway = model;
        sharded = parameters;
        part = memory.peak();
      });
      CHECK(same_bits(plain, sharded));
      CHECK(part < whole);
      const auto a = SafetensorsFile::open(folder.file("plain")), b = SafetensorsFile::open(folder.file("sharded"));
      CHECK(a->names() == b->names());
      for (const std::string& name : a->names()) CHECK(same_bits(a->tensor(name), b->tensor(name)));

      // On one rank more, sharded again.
      run_ranks(size + 1, [&](const Group& group) {
        const auto model = halfway->clone();
        training::RewardTrainer resumed(model, options(group, true));
        resumed.load_state(folder.file("sharded"));
        for (int i = 0; i < 2; ++i) resumed.step(kChosen, kRejected, 1e-3, Job());
        Outcome outcome, expected;
        outcome.parameters = copies(model->parameters());
        expected.parameters = sharded;
        CHECK(parameter_error(outcome, expected) < (dtype == at::kFloat ? kStepTolerance : 0.05));
      });
    }
  }
}

TEST_CASE("ranks: what does not go together is refused") {
  run_ranks(2, [](const Group& group) {
    CHECK(error_code([&] {
            training::RewardTrainer(hashed_model("gpt2", 3, 1),
                                    {.optimizer = {.update_in_backward = true, .group = group}, .batch_tokens = 100});
          }) == "E_UNSUPPORTED");
  });
}
