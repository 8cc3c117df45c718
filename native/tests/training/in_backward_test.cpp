// Updates inside the backward and a mapped optimiser state: the same numbers for less memory.
#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <limits>

#include "core/error.h"
#include "core/safetensors.h"
#include "support/allocation_peak.h"
#include "support/temporary_folder.h"
#include "training/golden.h"
#include "training/language_model_trainer.h"
#include "training/ppo_case.h"
#include "training/reward_trainer.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::LanguageModelTrainer;
using training::OptimizerOptions;
using training::RewardTrainer;
using training::TokenRows;

namespace {

const TokenRows kChosen{{1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 4, 9, 9}, {5, 6, 2}};
const TokenRows kRejected{{1, 2, 8, 4, 5, 6, 1, 8, 4, 4}, {4, 3, 3}};

struct Trained {
  models::NamedTensors parameters;
  double loss = 0, grad_norm = 0;
};

Trained reward_steps(const std::string& name, at::ScalarType dtype, const OptimizerOptions& options, int64_t batch_tokens = 1000,
                     bool checkpoint = false) {
  const auto model = hashed_model(name, 3, 2, false, dtype);
  RewardTrainer trainer(
      model, {.optimizer = options, .batch_tokens = batch_tokens, .checkpoint = {.enabled = checkpoint, .activation_bytes = 0}});
  Trained result;
  for (int i = 0; i < 3; ++i) {
    const auto step = trainer.step(kChosen, kRejected, 1e-3, Job());
    result.loss = step.loss;
    result.grad_norm = step.grad_norm;
  }
  result.parameters = copies(model->parameters());
  return result;
}

Trained language_steps(const std::string& name, const OptimizerOptions& options, int64_t batch_tokens) {
  const auto model = hashed_model(name, 3);
  LanguageModelTrainer trainer(model, options, batch_tokens);
  Trained result;
  for (int i = 0; i < 3; ++i) result.grad_norm = trainer.step(kChosen, 1e-3, Job()).grad_norm;
  result.parameters = copies(model->parameters());
  return result;
}

double largest_difference(const models::NamedTensors& a, const models::NamedTensors& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double scale = std::max(kFloor, b[i].second.abs().max().item<double>());
    worst = std::max(worst, (a[i].second - b[i].second).to(at::kFloat).abs().max().item<double>() / scale);
  }
  return worst;
}

}  // namespace

TEST_CASE("in backward: without clipping the same numbers as an update after the backward") {
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const int64_t batch_tokens : {1000, 12}) {
        for (const bool checkpoint : {false, true}) {
          CAPTURE(name);
          CAPTURE(batch_tokens);
          const Trained after = reward_steps(name, dtype, {.weight_decay = 0.1}, batch_tokens, checkpoint);
          const Trained inside =
              reward_steps(name, dtype, {.weight_decay = 0.1, .update_in_backward = true}, batch_tokens, checkpoint);
          // With several micro-batches in bf16 the last one's gradient is rounded before it is added to the others' sum.
          const bool same = dtype == at::kFloat || batch_tokens == 1000;
          CHECK(largest_difference(inside.parameters, after.parameters) <= (same ? 0 : kRoundedGradientTolerance));
          CHECK(relative(inside.loss, after.loss) <= (same ? 0 : kRoundedGradientTolerance));
          CHECK(relative(inside.grad_norm, after.grad_norm) < (same ? 1e-6 : kRoundedGradientTolerance));
        }
      }
    }
    // The LM head of a tied model is its embedding: used first and last. A large eps: the sign of a gradient that is rounding
    // alone is no update.
    for (const int64_t batch_tokens : {1000, 6}) {
      const Trained after = language_steps(name, {.eps = 1e-3}, batch_tokens);
      const Trained inside = language_steps(name, {.eps = 1e-3, .update_in_backward = true}, batch_tokens);
      CHECK(largest_difference(inside.parameters, after.parameters) < kRegroupTolerance);
    }
  }
}

TEST_CASE("in backward: clipping measures in a pass of its own") {
  for (const int64_t batch_tokens : {1000, 12}) {
    const Trained after = reward_steps("gemma", at::kFloat, {.max_grad_norm = 0.01}, batch_tokens);
    const Trained inside = reward_steps("gemma", at::kFloat, {.max_grad_norm = 0.01, .update_in_backward = true}, batch_tokens);
    const Trained unclipped = reward_steps("gemma", at::kFloat, {.eps = 1e-3, .update_in_backward = true}, batch_tokens);
    const Trained clipped =
        reward_steps("gemma", at::kFloat, {.eps = 1e-3, .max_grad_norm = 0.01, .update_in_backward = true}, batch_tokens);
    CHECK(relative(inside.grad_norm, after.grad_norm) < kStepTolerance);
    CHECK(largest_difference(inside.parameters, after.parameters) < kStepTolerance);
    // Twin. Adam forgets the scale of its gradients but for eps, so a large one is needed to see that they were clipped.
    CHECK(largest_difference(unclipped.parameters, clipped.parameters) > kStepTolerance);
  }
}

TEST_CASE("in backward: gradients do not stand side by side") {
  const auto peak_of = [](bool inside) {
    const auto model = hashed_model("gemma", 3, 2);
    RewardTrainer trainer(model, {.optimizer = {.update_in_backward = inside}, .batch_tokens = 1000});
    const AllocationPeak peak;
    trainer.step({{1, 2}, {2}}, {{1, 3}, {2}}, 1e-3, Job());
    return std::pair(peak.peak(), model->parameter_bytes());
  };
  const auto [after, bytes] = peak_of(false);
  const auto [inside, same_bytes] = peak_of(true);
  CHECK(after > bytes);
  // The largest parameter's gradient is more than a third of this tiny model.
  CHECK(inside < after - bytes / 3);
}

TEST_CASE("in backward: a gradient that is not finite is named, and with clipping changes nothing") {
  for (const double clip : {0.0, 1.0}) {
    const auto model = hashed_model("gpt2", 3, 1);
    RewardTrainer trainer(model, {.optimizer = {.max_grad_norm = clip, .update_in_backward = true}, .batch_tokens = 1000});
    at::Tensor head = model->parameters().back().second;
    const auto before = copies(model->parameters());
    head.detach()[0][0] = std::numeric_limits<float>::quiet_NaN();
    CHECK(error_code([&] { trainer.step(kChosen, kRejected, 1e-3, Job()); }) == "E_NON_FINITE");
    head.detach()[0][0] = before.back().second[0][0];
    CHECK(same_bits(before, copies(model->parameters())));
    CHECK(trainer.step(kChosen, kRejected, 1e-3, Job()).grad_norm > 0);  // nothing of the failed step is left
  }
}

TEST_CASE("mapped state: the same bits as one in memory, and either goes on from what the other saved") {
  const TemporaryFolder folder;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool inside : {false, true}) {
      const OptimizerOptions memory{.weight_decay = 0.1, .max_grad_norm = 1.0, .update_in_backward = inside};
      OptimizerOptions mapped = memory;
      mapped.state_folder = folder.path();
      const Trained in_memory = reward_steps("gemma", dtype, memory), in_file = reward_steps("gemma", dtype, mapped);
      CHECK(same_bits(in_memory.parameters, in_file.parameters));
      CHECK(in_memory.grad_norm == in_file.grad_norm);

      const auto first = hashed_model("gemma", 3, 2, false, dtype);
      RewardTrainer started(first, {.optimizer = mapped, .batch_tokens = 1000});
      started.step(kChosen, kRejected, 1e-3, Job());
      const TemporaryFile state("mapped-state");
      started.save_state(state.path());
      const auto second = first->clone();
      RewardTrainer resumed(second, {.optimizer = memory, .batch_tokens = 1000});
      resumed.load_state(state.path());
      for (int i = 0; i < 2; ++i) resumed.step(kChosen, kRejected, 1e-3, Job());
      CHECK(same_bits(copies(second->parameters()), in_memory.parameters));
    }
  }
  const auto model = hashed_model("gpt2", 3, 1);
  CHECK(error_code([&] { RewardTrainer(model, {.optimizer = {.state_folder = folder.file("absent")}, .batch_tokens = 1000}); }) ==
        "E_NOT_FOUND");
}

namespace {

struct PpoTrained {
  models::NamedTensors parameters;
  training::PpoStats stats;
};

// The recorded step of a case, all of its epochs and mini-batches.
PpoTrained ppo_step(size_t index, bool inside, double max_grad_norm, int64_t micro_batch_tokens, double ratio_threshold = 10) {
  const PpoCase test(index);
  training::PpoTrainerOptions options = test.options;
  options.optimizer.update_in_backward = inside;
  options.optimizer.max_grad_norm = max_grad_norm;
  options.micro_batch_tokens = micro_batch_tokens;
  options.ratio_threshold = ratio_threshold;
  training::PpoTrainer trainer(test.policy, test.reference, options);
  PpoTrained result;
  result.stats = trainer.step(*test.evaluate(), test.input, Job());
  result.parameters = copies(test.policy->parameters());
  return result;
}

double statistics_error(const PpoTrained& a, const PpoTrained& b) {
  double worst = a.stats.size() == b.stats.size() ? 0 : 1e9;
  for (size_t i = 0; i < std::min(a.stats.size(), b.stats.size()); ++i) {
    if (a.stats[i].first.rfind("time/", 0) == 0) continue;
    worst = std::max(worst, std::abs(a.stats[i].second - b.stats[i].second) / std::max(0.1, std::abs(b.stats[i].second)));
  }
  return worst;
}

}  // namespace

TEST_CASE("in backward: PPO steps are those of an update afterwards, clipped or not, in one micro-batch or several") {
  for (const size_t index : {size_t{0}, size_t{1}, size_t{3}}) {
    for (const double norm : {0.0, 0.05}) {
      for (const int64_t tokens : {1000, 20}) {
        CAPTURE(index);
        CAPTURE(norm);
        CAPTURE(tokens);
        const PpoTrained after = ppo_step(index, false, norm, tokens), inside = ppo_step(index, true, norm, tokens);
        CHECK(largest_difference(inside.parameters, after.parameters) < kTenStepsTolerance);
        CHECK(statistics_error(inside, after) < kTenStepsTolerance);
      }
    }
  }
}

TEST_CASE("in backward: a PPO update above the ratio threshold counts as one of zero gradients") {
  // Any ratio is above it, so the moments decay and nothing is learnt; weight decay is 0 in the recorded cases.
  constexpr double kNone = 1e-6;
  for (const int64_t tokens : {1000, 20}) {
    const PpoTrained after = ppo_step(0, false, 0, tokens, kNone), inside = ppo_step(0, true, 0, tokens, kNone);
    CHECK(same_bits(inside.parameters, after.parameters));
    CHECK(statistics_error(inside, after) == 0);
    // Twin: without the threshold something is.
    CHECK_FALSE(same_bits(inside.parameters, ppo_step(0, true, 0, tokens).parameters));
  }
}
