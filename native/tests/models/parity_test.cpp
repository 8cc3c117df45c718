// The same numbers as transformers, from models that both build from a hash (test/golden/tiny_models.py).
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/token_logprob/token_logprob.h"
#include "models/generation.h"
#include "support/golden_file.h"
#include "support/model_tolerances.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::golden_member;
using tests::golden_numbers;
using tests::tiny_model;

const bool one_thread = [] {  // threads that wait for each other make a suite of tiny models slow on a busy machine
  at::set_num_threads(1);
  return true;
}();

const Json& golden() {
  static const Json data = tests::read_golden("models.json");
  return data;
}

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kCPU).to(at::kDouble).flatten().contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

double relative_error(const std::vector<double>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  double error = 0, scale = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    error = std::max(error, std::abs(actual[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return error / scale;
}

double rms_error(const std::vector<double>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  double sum = 0;
  for (size_t i = 0; i < actual.size(); ++i) sum += (actual[i] - expected[i]) * (actual[i] - expected[i]);
  return std::sqrt(sum / static_cast<double>(actual.size()));
}

PackedBatch pack_rows(const Model& model, const Json& rows) {
  const auto golden_rows = tests::golden_rows(rows);
  return pack(golden_rows.ids.data(), static_cast<int64_t>(golden_rows.ids.size()), golden_rows.lengths.data(),
              static_cast<int64_t>(golden_rows.lengths.size()), model.config().vocab_size, model.config().max_positions,
              model.device());
}

struct Outputs {
  std::vector<double> hidden, logits, logprobs;
};

Outputs outputs_of(const Model& model, const Json& rows) {
  const at::NoGradGuard no_grad;
  const PackedBatch batch = pack_rows(model, rows);
  const at::Tensor hidden = model.hidden(batch);
  const at::Tensor last = hidden.index_select(0, batch.last_index());
  std::vector<int64_t> sources;  // every token but the last of its row predicts the next one
  int64_t at = 0;
  for (const int32_t length : batch.lengths) {
    for (int32_t i = 0; i + 1 < length; ++i) sources.push_back(at + i);
    at += length;
  }
  at::Tensor index = at::empty({static_cast<int64_t>(sources.size())}, at::kLong);
  std::copy(sources.begin(), sources.end(), index.mutable_data_ptr<int64_t>());
  index = index.to(model.device());
  const at::Tensor targets = batch.ids.index_select(0, index.add(1));
  const auto logprobs =
      kernels::token_logprob(hidden.index_select(0, index), model.lm_weight(), std::nullopt, targets, false).logprobs;
  return {values_of(last), values_of(model.logits(last)), values_of(logprobs)};
}

// A model reads one row in a batch of others as it does alone: the batch is packed, transformers saw one row at a time.
TEST_CASE("parity: hidden states, logits and log-probabilities in float32") {
  for (const auto& [name, data] : golden_member(golden(), "causal").as_object("")) {
    CAPTURE(name);
    const auto model = tiny_model(golden_member(data, "config").dump(), Task::CausalLm, at::kFloat);
    const Outputs outputs = outputs_of(*model, golden_member(data, "rows"));
    CHECK(relative_error(outputs.hidden, golden_numbers(golden_member(data, "hidden"))) < tests::kModelFp32);
    CHECK(relative_error(outputs.logits, golden_numbers(golden_member(data, "logits"))) < tests::kModelFp32);
    CHECK(relative_error(outputs.logprobs, golden_numbers(golden_member(data, "logprobs"))) < tests::kModelFp32);
  }
}

TEST_CASE("parity's twin: a reader that takes one setting wrongly is noticed") {
  for (const auto& [name, data] : golden_member(golden(), "causal").as_object("")) {
    CAPTURE(name);
    Json config = golden_member(data, "config");
    for (const auto& [key, value] : golden_member(data, "wrong").as_object("")) config.set(key, value);
    const Outputs outputs = outputs_of(*tiny_model(config.dump(), Task::CausalLm, at::kFloat), golden_member(data, "rows"));
    CHECK(relative_error(outputs.logits, golden_numbers(golden_member(data, "logits"))) > tests::kModelFp32);
  }
}

TEST_CASE("parity: bfloat16 within twice PyTorch's own error") {
  for (const auto& [name, data] : golden_member(golden(), "causal").as_object("")) {
    CAPTURE(name);
    const auto model = tiny_model(golden_member(data, "config").dump(), Task::CausalLm, at::kBFloat16);
    const Outputs outputs = outputs_of(*model, golden_member(data, "rows"));
    const auto check = [&](const char* key, const std::vector<double>& actual) {
      CAPTURE(key);
      const double allowed = tests::kModelBf16Factor * golden_member(golden_member(data, "bf16Error"), key).as_number(key);
      CHECK(rms_error(actual, golden_numbers(golden_member(data, key))) <= allowed);
    };
    check("hidden", outputs.hidden);
    check("logits", outputs.logits);
    check("logprobs", outputs.logprobs);
  }
}

TEST_CASE("parity: scores of classifiers, whichever side transformers pads") {
  for (const auto& [name, data] : golden_member(golden(), "classifiers").as_object("")) {
    CAPTURE(name);
    const at::NoGradGuard no_grad;
    const auto right = golden_numbers(golden_member(data, "scoresRightPadded"));
    const auto left = golden_numbers(golden_member(data, "scoresLeftPadded"));
    const auto model = tiny_model(golden_member(data, "config").dump(), Task::SequenceClassification, at::kFloat);
    const PackedBatch batch = pack_rows(*model, golden_member(data, "rows"));
    const auto scores = values_of(model->scores(batch));
    CHECK(relative_error(scores, right) < tests::kModelFp32);
    CHECK(relative_error(scores, left) < tests::kModelFp32);
    // The twin: a score read one token early.
    const at::Tensor early =
        at::linear(model->hidden(batch).index_select(0, batch.last_index().sub(1).clamp_min(0)), model->score_weight());
    CHECK(relative_error(values_of(early), right) > tests::kModelFp32);
    const auto half = tiny_model(golden_member(data, "config").dump(), Task::SequenceClassification, at::kBFloat16);
    const double allowed =
        tests::kModelBf16Factor * golden_member(golden_member(data, "bf16Error"), "scores").as_number("scores");
    const double floor = tests::kModelBf16Floor * *std::max_element(right.begin(), right.end());
    CHECK(rms_error(values_of(half->scores(batch)), right) <= std::max(allowed, floor));
  }
}

TEST_CASE("parity: greedy continuations are the same tokens") {
  for (const auto& [name, data] : golden_member(golden(), "causal").as_object("")) {
    CAPTURE(name);
    const auto model = tiny_model(golden_member(data, "config").dump(), Task::CausalLm, at::kFloat);
    GenerateOptions options;
    options.max_new_tokens = golden_member(golden(), "newTokens").as_int("");
    options.eos_token_ids = model->config().eos_token_ids;
    options.sampling.greedy = true;
    const PackedBatch prompts = pack_rows(*model, golden_member(data, "prompts"));
    const Generated generated = generate(*model, prompts, {0, 1, 2, 3}, options, Job());
    const auto expected = tests::golden_rows(golden_member(data, "greedy"));
    CHECK((generated.lengths == expected.lengths));
    CHECK((generated.ids == expected.ids));
  }
}

}  // namespace
}  // namespace prudent::models
