#include "training/token_rows.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "training/golden.h"
#include "training/inference.h"

using namespace prudent;
using namespace prudent::tests;
using training::TokenRows;

TEST_CASE("rows: micro-batches hold at most the budget, in order, and every row once") {
  using Ranges = std::vector<std::pair<int64_t, int64_t>>;
  CHECK(training::micro_batches({3, 3, 3}, 6, "batchTokens") == Ranges{{0, 2}, {2, 3}});
  CHECK(training::micro_batches({9, 1, 1}, 4, "batchTokens") == Ranges{{0, 1}, {1, 3}});
  CHECK(training::micro_batches({}, 4, "batchTokens").empty());
  CHECK(error_code([] { training::micro_batches({1}, 0, "batchTokens"); }) == "E_RANGE");
}

TEST_CASE("rows: selecting and joining") {
  const TokenRows rows{{1, 2, 3, 4, 5, 6}, {1, 2, 3}};
  const TokenRows chosen = rows.select({2, 0});
  CHECK(chosen.ids == std::vector<int32_t>{4, 5, 6, 1});
  CHECK(chosen.lengths == std::vector<int32_t>{3, 1});
  const TokenRows joined = training::concatenate_rows(chosen, {{7, 8, 9}, {1, 2}});
  CHECK(joined.ids == std::vector<int32_t>{4, 5, 6, 7, 1, 8, 9});
  CHECK(joined.lengths == std::vector<int32_t>{4, 3});
  CHECK(error_code([&] { training::concatenate_rows(chosen, {{7}, {1}}); }) == "E_SHAPE");
}

TEST_CASE("inference: results do not depend on the micro-batches and stand in row order") {
  const TokenRows rows{{1, 2, 3, 4, 5, 6, 7, 8, 9}, {4, 1, 3, 1}};
  const auto model = hashed_model("llama", 1), classifier = hashed_model("llama", 2, 3);
  const auto close = [](const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.allclose(b, 1e-5, 1e-5); };
  for (const int64_t batch_tokens : {1, 5}) {
    CHECK(
        close(training::score_rows(*classifier, rows, batch_tokens, Job()), training::score_rows(*classifier, rows, 100, Job())));
    CHECK(close(training::logprob_rows(*model, rows, batch_tokens, Job()), training::logprob_rows(*model, rows, 100, Job())));
    CHECK(close(training::hidden_rows(*model, rows, batch_tokens, Job()), training::hidden_rows(*model, rows, 100, Job())));
  }
  CHECK(training::logprob_rows(*model, rows, 100, Job()).size(0) == 5);
  CHECK(training::logprob_rows(*model, {{1}, {1}}, 100, Job()).size(0) == 0);
  // Log-probs by way of the logits.
  const at::Tensor table = training::logit_rows(*model, rows, 100, Job()).log_softmax(-1);
  const at::Tensor logprobs = training::logprob_rows(*model, rows, 100, Job());
  CHECK(logprobs[0].item<double>() == doctest::Approx(table[0][2].item<double>()).epsilon(1e-5));
  CHECK(logprobs[3].item<double>() == doctest::Approx(table[5][7].item<double>()).epsilon(1e-5));
  CHECK(error_code([&] { training::score_rows(*model, rows, 100, Job()); }) == "E_NO_HEAD");
  CHECK(error_code([&] { training::logprob_rows(*classifier, rows, 100, Job()); }) == "E_NO_HEAD");
  CHECK(error_code([&] { training::score_rows(*classifier, rows, 0, Job()); }) == "E_RANGE");
  models::GenerateOptions options;
  CHECK(error_code([&] { training::generate_rows(*model, rows, {1}, options, 100, Job()); }) == "E_SHAPE");
  const auto token = std::make_shared<CancelToken>();
  token->cancel();
  CHECK(error_code([&] { training::score_rows(*classifier, rows, 100, Job(token, nullptr)); }) == "E_CANCELLED");
}
