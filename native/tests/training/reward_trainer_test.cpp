#include "training/reward_trainer.h"

#include <ATen/TensorOperators.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/safetensors.h"
#include "training/golden.h"
#include "training/inference.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::RewardTrainer;
using training::TokenRows;

namespace {

struct Errors {
  double first = 0, losses = 0, per_head = 0, accuracy = 0, norms = 0;
  Difference gradients, parameters;
};

double worst(const std::vector<float>& values, const std::vector<double>& expected) {
  double error = values.size() == expected.size() ? 0 : INFINITY;
  for (size_t i = 0; i < expected.size(); ++i) error = std::max(error, relative(values[i], expected[i]));
  return error;
}

// What the first step left in Adam's first moment.
models::NamedTensors gradients_of_first_step(const RewardTrainer& trainer, const models::Model& model) {
  const TemporaryFile file("reward-state");
  trainer.save_state(file.path());
  const auto state = SafetensorsFile::open(file.path());
  models::NamedTensors gradients;
  for (const auto& [key, parameter] : model.parameters()) {
    gradients.emplace_back(key, state->tensor(key + ".moment1").div(0.1));
  }
  return gradients;
}

Errors replay(const std::string& name, bool swapped = false, int64_t batch_tokens = 1000) {
  const Json& record = member(member(golden(), "reward"), name);
  const auto model = hashed_model(name, 2, static_cast<int64_t>(number(record, "heads")));
  RewardTrainer trainer(model, {.optimizer = optimizer_options(record), .batch_tokens = batch_tokens});
  const TokenRows chosen = token_rows(member(record, swapped ? "rejected" : "chosen"));
  const TokenRows rejected = token_rows(member(record, swapped ? "chosen" : "rejected"));
  Errors errors;
  bool first = true;
  for (const Json& expected : member(record, "steps").as_array("steps")) {
    const auto step = trainer.step(chosen, rejected, number(record, "lr"), Job());
    if (first) {
      first = false;
      errors.first = relative(step.loss, number(expected, "loss"));
      errors.gradients = worst_difference(gradients_of_first_step(trainer, *model), member(record, "gradients"), kGradientFloor);
    }
    errors.losses = std::max(errors.losses, relative(step.loss, number(expected, "loss")));
    errors.per_head = std::max(errors.per_head, worst(step.loss_per_head, numbers(member(expected, "loss_per_head"))));
    errors.accuracy = std::max(errors.accuracy, worst(step.accuracy_per_head, numbers(member(expected, "accuracy_per_head"))));
    errors.norms = std::max(errors.norms, relative(step.grad_norm, number(expected, "grad_norm")));
  }
  errors.parameters = worst_difference(model->parameters(), member(record, "parameters"), kFloor);
  return errors;
}

}  // namespace

TEST_CASE("reward: ten Bradley-Terry steps of the whole model as PyTorch") {
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    for (const int64_t batch_tokens : {1000, 16, 1}) {
      CAPTURE(name);
      CAPTURE(batch_tokens);
      const Errors errors = replay(name, false, batch_tokens);
      INFO(name, " first ", errors.first, " gradients ", errors.gradients.value, " (", errors.gradients.name, ") losses ",
           errors.losses, " norms ", errors.norms, " parameters ", errors.parameters.value, " (", errors.parameters.name, ")");
      CHECK(errors.first < kStepTolerance);
      CHECK(errors.gradients.value < kStepTolerance);
      CHECK(errors.losses < kTenStepsTolerance);
      CHECK(errors.per_head < kTenStepsTolerance);
      CHECK(errors.accuracy < kStepTolerance);
      CHECK(errors.norms < kTenStepsTolerance);
      CHECK(errors.parameters.value < kTenStepsTolerance);
    }
  }
}

TEST_CASE("reward: chosen and rejected exchanged are seen (twin)") {
  const Errors errors = replay("gemma", true);
  CHECK(errors.first > kStepTolerance);
  CHECK(errors.gradients.value > kStepTolerance);
  CHECK(errors.parameters.value > kTenStepsTolerance);
}

TEST_CASE("reward: identical rows are a tie, not a success") {
  const auto model = hashed_model("gpt2", 2, 1);
  RewardTrainer trainer(model, {.batch_tokens = 100});
  const TokenRows rows{{1, 2, 3, 4}, {3, 1}};
  const auto step = trainer.step(rows, rows, 1e-3, Job());
  CHECK(step.accuracy == 0.0);
  CHECK(step.loss == doctest::Approx(std::log(2.0)));
  CHECK(step.tokens == 8);
}

TEST_CASE("reward: training raises the score of what is chosen") {
  const auto model = hashed_model("gpt2", 2, 1);
  RewardTrainer trainer(model, {.batch_tokens = 100});
  const TokenRows chosen{{1, 2, 3}, {3}}, rejected{{4, 5}, {2}};
  for (int i = 0; i < 20; ++i) trainer.step(chosen, rejected, 1e-3, Job());
  const auto scores = training::score_rows(*model, {{1, 2, 3, 4, 5}, {3, 2}}, 100, Job());
  CHECK(scores[0][0].item<float>() > scores[1][0].item<float>() + 1.0f);
}

TEST_CASE("reward: resumed training is bit-exact, cancelling changes nothing") {
  const Json& record = member(member(golden(), "reward"), "gemma");
  const TokenRows chosen = token_rows(member(record, "chosen")), rejected = token_rows(member(record, "rejected"));
  const auto model = hashed_model("gemma", 2, 3);
  RewardTrainer trainer(model, {.batch_tokens = 20});
  for (int i = 0; i < 2; ++i) trainer.step(chosen, rejected, 1e-3, Job());
  const TemporaryFile state("reward-resume");
  trainer.save_state(state.path());
  const auto resumed_model = model->clone();
  const auto before = copies(model->parameters());

  const auto token = std::make_shared<CancelToken>();
  const Job job(token, [&](int64_t done, int64_t) {
    if (done == 1) token->cancel();
  });
  CHECK(error_code([&] { trainer.step(chosen, rejected, 1e-3, job); }) == "E_CANCELLED");
  CHECK(same_bits(before, copies(model->parameters())));

  for (int i = 0; i < 3; ++i) trainer.step(chosen, rejected, 1e-3, Job());
  RewardTrainer resumed(resumed_model, {.batch_tokens = 20});
  resumed.load_state(state.path());
  for (int i = 0; i < 3; ++i) resumed.step(chosen, rejected, 1e-3, Job());
  CHECK(same_bits(copies(model->parameters()), copies(resumed_model->parameters())));
}

TEST_CASE("reward: a common prefix computed once, or activations computed twice, change no step") {
  // Pairs with 12, 0, 3 and 6 tokens in common; of the last, one side is the beginning of the other.
  const TokenRows chosen{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 3, 3, 3, 3, 3, 9, 1, 2, 3, 4, 5, 6, 7}, {14, 1, 5, 7}};
  const TokenRows rejected{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 8, 4, 2, 3, 3, 3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {13, 2, 4, 9}};
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    CAPTURE(name);
    const auto train = [&](bool share, bool checkpoint, int64_t batch_tokens) {
      const auto model = hashed_model(name, 2, 2);
      RewardTrainer trainer(
          model,
          {.batch_tokens = batch_tokens, .share_prefixes = share, .checkpoint = {.enabled = checkpoint, .activation_bytes = 0}});
      const training::RewardStep step = trainer.step(chosen, rejected, 1e-3, Job());
      return std::pair(step, gradients_of_first_step(trainer, *model));
    };
    const auto [plain, plain_gradients] = train(false, false, 1000);
    CHECK(plain.computed_tokens == plain.tokens);
    for (const int64_t batch_tokens : {1000, 20}) {
      const auto [shared, shared_gradients] = train(true, false, batch_tokens);
      CHECK(shared.tokens == 55);
      CHECK(shared.computed_tokens == 55 - 12 - 3 - 6);
      CHECK(relative(shared.loss, plain.loss) < kStepTolerance);
      for (size_t i = 0; i < plain_gradients.size(); ++i) {
        const at::Tensor &expected = plain_gradients[i].second, &actual = shared_gradients[i].second;
        const double scale = std::max(kGradientFloor, expected.abs().max().item<double>());
        CHECK((actual - expected).abs().max().item<double>() < kStepTolerance * scale);
      }
      const auto [again, again_gradients] = train(true, true, batch_tokens);
      CHECK(again.loss == shared.loss);
      CHECK(same_bits(again_gradients, shared_gradients));
      CHECK(!same_bits(shared_gradients, plain_gradients));  // they were not computed the same way
    }
  }
}

TEST_CASE("reward: wrong arguments are named") {
  const auto model = hashed_model("gpt2", 2, 1);
  RewardTrainer trainer(model, {.batch_tokens = 100});
  CHECK(error_code([&] { trainer.step({{1, 2}, {1, 1}}, {{1}, {1}}, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({{1}, {1}}, {{99}, {1}}, 1e-3, Job()); }) == "E_RANGE");
  CHECK(error_code([&] { RewardTrainer(hashed_model("gpt2", 1), {}); }) == "E_NO_HEAD");
  model->set_score_weight(model->score_weight().detach().mul(2));
  CHECK(error_code([&] { trainer.step({{1}, {1}}, {{2}, {1}}, 1e-3, Job()); }) == "E_STATE");
}
