#include "training/language_model_trainer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/safetensors.h"
#include "training/golden.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::LanguageModelTrainer;
using training::TokenRows;

namespace {

struct Errors {
  double first_loss = 0, losses = 0, norms = 0;
  Difference gradients, parameters;
};

// Gradients of the first step as the optimiser saw them: moment1 = (1 - beta1) * clip coefficient * gradient.
models::NamedTensors first_gradients(const LanguageModelTrainer& trainer, const models::NamedTensors& parameters, double norm,
                                     double clip) {
  const TemporaryFile file("language-model-state");
  trainer.save_state(file.path());
  const auto state = SafetensorsFile::open(file.path());
  models::NamedTensors gradients;
  const double coefficient = 0.1 * (clip > 0 ? std::min(1.0, clip / norm) : 1.0);
  for (const auto& [name, parameter] : parameters)
    gradients.emplace_back(name, state->tensor(name + ".moment1").div(coefficient));
  return gradients;
}

Errors replay(const std::string& name, double lr_factor = 1.0, int64_t batch_tokens = 64) {
  const Json& record = member(member(golden(), "language_model"), name);
  const auto model = hashed_model(name, 1);
  LanguageModelTrainer trainer(model, optimizer_options(record), batch_tokens);
  const TokenRows rows = token_rows(member(record, "rows"));
  Errors errors;
  bool first = true;
  for (const Json& expected : member(record, "steps").as_array("steps")) {
    const auto step = trainer.step(rows, lr_factor * number(record, "lr"), Job());
    if (first) {
      errors.first_loss = relative(step.loss, number(expected, "loss"));
      const auto gradients = first_gradients(trainer, model->parameters(), step.grad_norm, number(record, "max_grad_norm"));
      errors.gradients = worst_difference(gradients, member(record, "gradients"), kGradientFloor);
      CHECK(step.tokens == 23);
    }
    first = false;
    errors.losses = std::max(errors.losses, relative(step.loss, number(expected, "loss")));
    errors.norms = std::max(errors.norms, relative(step.grad_norm, number(expected, "grad_norm")));
  }
  errors.parameters = worst_difference(model->parameters(), member(record, "parameters"), kFloor);
  return errors;
}

}  // namespace

TEST_CASE("language model: ten clipped AdamW steps as PyTorch") {
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    CAPTURE(name);
    const Errors errors = replay(name);
    INFO(name, " first loss ", errors.first_loss, " gradients ", errors.gradients.value, " (", errors.gradients.name, ") losses ",
         errors.losses, " norms ", errors.norms, " parameters ", errors.parameters.value, " (", errors.parameters.name, ")");
    CHECK(errors.first_loss < kStepTolerance);
    CHECK(errors.gradients.value < kStepTolerance);
    CHECK(errors.losses < kTenStepsTolerance);
    CHECK(errors.norms < kTenStepsTolerance);
    CHECK(errors.parameters.value < kTenStepsTolerance);
  }
}

TEST_CASE("language model: a learning rate 1 % off is seen (twin)") {
  const Errors errors = replay("llama", 1.01);
  CHECK(errors.losses > kTenStepsTolerance);
  CHECK(errors.parameters.value > kTenStepsTolerance);
}

TEST_CASE("language model: micro-batches do not change the result") {
  for (const int64_t batch_tokens : {1, 10, 15}) {
    const Errors errors = replay("gpt2", 1.0, batch_tokens);
    CHECK(errors.gradients.value < kStepTolerance);
    CHECK(errors.parameters.value < kTenStepsTolerance);
  }
}

TEST_CASE("language model: bfloat16 micro-batches add up in fp32") {
  for (const char* name : {"llama", "gpt2"}) {  // with an LM head of its own, and one that is the embedding
    CAPTURE(std::string(name));
    const Json& record = member(member(golden(), "language_model"), name);
    const TokenRows rows = token_rows(member(record, "rows"));
    const auto first_norm = [&](int64_t batch_tokens) {
      LanguageModelTrainer trainer(hashed_model(name, 1, 0, false, at::kBFloat16), optimizer_options(record), batch_tokens);
      return trainer.step(rows, 1e-3, Job()).grad_norm;
    };
    // bf16 keeps 8 bits: one rounding of each gradient is 2^-9, and their norm averages them out.
    CHECK(relative(first_norm(1), first_norm(64)) < 1e-2);
    CHECK(relative(first_norm(64), number(member(record, "steps").as_array("steps")[0], "grad_norm")) < 3e-2);
  }
}

TEST_CASE("language model: resumed training is bit-exact") {
  const Json& record = member(member(golden(), "language_model"), "gpt2");
  const TokenRows rows = token_rows(member(record, "rows"));
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = hashed_model("gpt2", 1, 0, false, dtype);
    LanguageModelTrainer trainer(model, optimizer_options(record), 10);
    for (int i = 0; i < 3; ++i) trainer.step(rows, 1e-3, Job());
    const TemporaryFile state("resume-state");
    trainer.save_state(state.path());
    const auto resumed_model = model->clone(), forgetful_model = model->clone();
    LanguageModelTrainer resumed(resumed_model, optimizer_options(record), 10),
        forgetful(forgetful_model, optimizer_options(record), 10);
    resumed.load_state(state.path());
    for (int i = 0; i < 3; ++i) {
      trainer.step(rows, 1e-3, Job());
      resumed.step(rows, 1e-3, Job());
      forgetful.step(rows, 1e-3, Job());
    }
    CHECK(same_bits(copies(model->parameters()), copies(resumed_model->parameters())));
    // The twin: without its state it is another run.
    CHECK_FALSE(same_bits(copies(model->parameters()), copies(forgetful_model->parameters())));
  }
}

TEST_CASE("language model: a cancelled step leaves everything as it was") {
  const Json& record = member(member(golden(), "language_model"), "gpt2");
  const TokenRows rows = token_rows(member(record, "rows"));
  const auto model = hashed_model("gpt2", 1);
  LanguageModelTrainer trainer(model, optimizer_options(record), 10),
      untouched(hashed_model("gpt2", 1), optimizer_options(record), 10);
  const auto before = copies(model->parameters());
  const auto token = std::make_shared<CancelToken>();
  int64_t reports = 0;
  const Job job(token, [&](int64_t done, int64_t total) {
    ++reports;
    if (done == 2) token->cancel();
    CHECK(total == 3);
  });
  CHECK(error_code([&] { trainer.step(rows, 1e-3, job); }) == "E_CANCELLED");
  CHECK(reports == 2);
  CHECK(same_bits(before, copies(model->parameters())));
  // Not even gradients are left over: the next step is the first step of an untouched trainer.
  const auto next = trainer.step(rows, 1e-3, Job()), expected = untouched.step(rows, 1e-3, Job());
  CHECK(next.loss == expected.loss);
  CHECK(next.grad_norm == expected.grad_norm);
}

TEST_CASE("language model: non-finite gradients are refused before the update") {
  const TokenRows rows{{1, 2, 3}, {3}};
  const auto model = hashed_model("llama", 1);
  LanguageModelTrainer trainer(model, {}, 64);
  trainer.step(rows, 1e-3, Job());
  at::Tensor broken = model->parameters().back().second.detach();
  broken.flatten()[0] = std::nan("");
  const auto before = copies(model->parameters());
  CHECK(error_code([&] { trainer.step(rows, 1e-3, Job()); }) == "E_NON_FINITE");
  broken.flatten()[0] = 0.0;
  auto healed = copies(model->parameters());
  auto expected = before;
  expected.back().second.flatten()[0] = 0.0;
  CHECK(same_bits(healed, expected));
}

TEST_CASE("language model: wrong arguments are named") {
  const auto model = hashed_model("gpt2", 1);
  LanguageModelTrainer trainer(model, {}, 64);
  CHECK(error_code([&] { trainer.step({{1, 2}, {1}}, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({{1, 2}, {2, 0}}, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({{}, {}}, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({{1, 2}, {1, 1}}, 1e-3, Job()); }) == "E_SHAPE");
  CHECK(error_code([&] { trainer.step({{1, 61}, {2}}, 1e-3, Job()); }) == "E_RANGE");
  CHECK(error_code([&] { trainer.step({{1, -1}, {2}}, 1e-3, Job()); }) == "E_RANGE");
  CHECK(error_code([&] { trainer.step({{1, 2}, {2}}, std::nan(""), Job()); }) == "E_RANGE");
  CHECK(error_code([&] { trainer.step({std::vector<int32_t>(33, 1), {33}}, 1e-3, Job()); }) == "E_TOO_LONG");
  CHECK(error_code([&] { LanguageModelTrainer(hashed_model("gpt2", 1, 2), {}, 64); }) == "E_NO_HEAD");
  CHECK(error_code([&] { LanguageModelTrainer(model, {}, 0); }) == "E_RANGE");
  training::OptimizerOptions options;
  options.beta2 = 1.0;
  CHECK(error_code([&] { LanguageModelTrainer(model, options, 64); }) == "E_RANGE");
}
