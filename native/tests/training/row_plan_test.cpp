#include "training/row_plan.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "training/feature_cache.h"
#include "training/golden.h"
#include "training/inference.h"
#include "training/permutation.h"
#include "training/tolerances.h"

using namespace prudent;
using namespace prudent::tests;
using training::TokenRows;

namespace {

// A template of 6 tokens before everything, 3 prompts of 5 to 7 tokens, 2 or 3 responses each; and one text that is not like
// them.
TokenRows templated_rows() {
  const std::vector<int32_t> beginning{1, 2, 3, 4, 5, 6};
  std::vector<std::vector<int32_t>> rows;
  for (int32_t prompt = 0; prompt < 3; ++prompt) {
    for (int32_t response = 0; response < 2 + prompt % 2; ++response) {
      std::vector<int32_t> row = beginning;
      for (int32_t t = 0; t < 5 + prompt; ++t) row.push_back(7 + prompt);
      for (int32_t t = 0; t < 3 + response; ++t) row.push_back(12 + response);
      rows.push_back(row);
    }
  }
  rows.push_back({20, 1, 2});
  return token_rows(rows);
}

double error_of(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).abs().max().item<double>() / std::max(1.0, expected.abs().max().item<double>());
}

}  // namespace

TEST_CASE("row plan: what rows share is computed once, in steps of four tokens, each row keeping a token of its own") {
  const auto computed = [](const std::vector<std::vector<int32_t>>& rows, int64_t budget = 1000) {
    return training::RowPlan(token_rows(rows), budget, true).computed_tokens();
  };
  CHECK(computed({{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 7}}) == 7);
  CHECK(computed({{1, 2, 3, 4, 5, 6}, {9, 9}, {1, 2, 3, 4, 7}}) == 9);  // not neighbours as given
  CHECK(computed({{1, 2, 3, 4}, {1, 2, 3, 4}}) == 8);                   // only three may be shared
  CHECK(computed({{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}}) == 6);
  CHECK(computed({{1, 2, 3, 4, 5, 6, 7}, {1, 2, 3, 4, 5, 6, 8}}) == 10);  // 6 are alike: a step of 4
  CHECK(computed({{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 7}}, 6) == 11);        // two forwards share nothing
  CHECK(training::RowPlan(token_rows({{1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 7}}), 100, false).computed_tokens() == 11);
  const TokenRows rows = templated_rows();
  CHECK(rows.tokens() == 113);
  // 4 tokens of the template, the other two with each prompt (to 8, 12 and 12 tokens), then what is left of each response.
  const training::RowPlan plan(rows, 1000, true);
  CHECK(plan.batches().size() == 1);
  CHECK(plan.computed_tokens() == 61);
  CHECK(plan.pack({0, rows.rows()}, at::kCPU).tokens() == plan.computed_tokens());
}

TEST_CASE("row plan: micro-batches hold at most the budget of computed tokens, and every row once") {
  const TokenRows rows = templated_rows();
  for (const int64_t budget : {1, 20, 33, 60}) {
    CAPTURE(budget);
    const training::RowPlan plan(rows, budget, true);
    int64_t next = 0, tokens = 0;
    for (const auto& batch : plan.batches()) {
      CHECK(batch.first == next);
      next = batch.second;
      const models::PackedBatch packed = plan.pack(batch, at::kCPU);
      CHECK(packed.rows() == batch.second - batch.first);
      CHECK((packed.tokens() <= budget || packed.rows() == 1));
      tokens += packed.tokens();
    }
    CHECK(next == rows.rows());
    CHECK(tokens == plan.computed_tokens());
  }
  CHECK(error_code([&] { training::RowPlan(rows, 0, true); }) == "E_RANGE");
}

TEST_CASE("row plan: scores and features are those without sharing, in row order, whatever the order and the batches") {
  const TokenRows rows = templated_rows();
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    CAPTURE(name);
    const auto model = hashed_model(name, 2, 3);
    const at::Tensor scores = training::score_rows(*model, rows, 1000, Job(), false);
    const at::Tensor features = training::FeatureCache::compute(*model, rows, 1000, Job(), false)->features();
    CHECK(training::computed_tokens(*model, rows, 1000, false) == rows.tokens());
    CHECK(training::computed_tokens(*model, rows, 1000, true) == 61);
    for (const uint64_t seed : {1, 2, 3}) {
      const std::vector<int64_t> order = training::seeded_permutation(rows.rows(), seed, 0);
      const at::Tensor index = at::tensor(order, at::kLong);
      for (const int64_t budget : {1000, 30}) {
        const TokenRows shuffled = rows.select(order);
        const at::Tensor shared = training::score_rows(*model, shuffled, budget, Job());
        CHECK(error_of(shared, scores.index_select(0, index)) < kRegroupTolerance);
        CHECK(error_of(shared, scores.index_select(0, index.flip(0))) > kRegroupTolerance);
        CHECK(error_of(training::FeatureCache::compute(*model, shuffled, budget, Job())->features(),
                       features.index_select(0, index)) < kRegroupTolerance);
      }
    }
  }
}

TEST_CASE("row plan: rows that begin with the kept prefix compute what comes after it, in every micro-batch; the others all") {
  const TokenRows rows = templated_rows();
  const std::vector<int32_t> prefix{1, 2, 3, 4, 5, 6};
  const auto computed = [&](const std::vector<int32_t>& kept, int64_t budget) {
    return training::RowPlan(rows, budget, kept).computed_tokens();
  };
  CHECK(computed({}, 1000) == 61);
  // Without the 4 + 3 * 2 tokens of the template that are computed before a prompt's own; the odd text is as long as it was.
  CHECK(computed(prefix, 1000) == 51);
  CHECK(computed(prefix, 1) == rows.tokens() - 7 * 6);  // every row by itself
  CHECK(computed({1, 2, 9}, 1000) == 61);               // nobody begins so
  CHECK(training::RowPlan(token_rows({{1, 2}, {1, 2, 3}}), 100, std::vector<int32_t>{1, 2}).computed_tokens() ==
        3);  // one of its own
  CHECK_FALSE(training::RowPlan(rows, 100, std::vector<int32_t>{1, 2, 9}).continues_prefix());
}

TEST_CASE("row plan: scores behind a kept prefix are those of whole rows, and follow the weights") {
  const TokenRows rows = templated_rows();
  const std::vector<int32_t> prefix{1, 2, 3, 4, 5, 6};
  for (const std::string name : {"gpt2", "gemma", "llama"}) {
    CAPTURE(name);
    const auto model = hashed_model(name, 2, 3);
    const at::Tensor whole = training::score_rows(*model, rows, 1000, Job(), false);
    const at::Tensor features = training::FeatureCache::compute(*model, rows, 1000, Job(), false)->features();
    model->set_prefix(prefix);
    for (const int64_t budget : {1000, 30, 1}) {
      CAPTURE(budget);
      CHECK(error_of(training::score_rows(*model, rows, budget, Job()), whole) < kRegroupTolerance);
      CHECK(error_of(training::FeatureCache::compute(*model, rows, budget, Job())->features(), features) < kRegroupTolerance);
    }
    CHECK(model->kept_prefix() == model->kept_prefix());  // computed once
    CHECK(model->clone()->prefix() == prefix);

    // The twin: keys and values of other ids, or of other weights, show.
    const auto other = hashed_model(name, 2, 3);
    other->set_prefix({1, 2, 3, 4, 5, 7});
    const training::RowPlan plan(rows, 1000, prefix);
    const at::Tensor wrong = plan.in_row_order(other->scores(plan.pack({0, rows.rows()}, at::kCPU, other->kept_prefix())));
    CHECK(error_of(wrong, whole) > kRegroupTolerance);

    const auto before = model->kept_prefix();
    {
      const at::NoGradGuard no_grad;
      for (const auto& [parameter_name, parameter] : model->parameters()) parameter.mul_(1.25);
    }
    const at::Tensor changed = training::score_rows(*model, rows, 1000, Job(), false);
    CHECK(error_of(training::score_rows(*model, rows, 1000, Job()), changed) < kRegroupTolerance);
    CHECK(model->kept_prefix() != before);
    CHECK(error_of(plan.in_row_order(model->scores(plan.pack({0, rows.rows()}, at::kCPU, before))), changed) > kRegroupTolerance);

    model->set_prefix({});
    CHECK(model->kept_prefix() == nullptr);
    CHECK(error_code([&] { model->set_prefix({1, -1}); }) == "E_RANGE");
    CHECK(error_code([&] { model->set_prefix(std::vector<int32_t>(static_cast<size_t>(model->config().max_positions), 1)); }) ==
          "E_TOO_LONG");
  }
}
