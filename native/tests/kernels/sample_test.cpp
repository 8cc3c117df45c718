#include "kernels/sample/sample.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::SampleOptions;

at::Tensor keys(int64_t rows, int64_t offset = 0) { return at::arange(rows, at::TensorOptions().dtype(at::kLong)) + offset; }
at::Tensor row(const std::vector<float>& logits) {
  return at::tensor(logits, at::TensorOptions().dtype(at::kFloat)).unsqueeze(0);
}
// How often each token of one row is drawn at `draws` positions.
std::vector<double> frequencies(const at::Tensor& logits, const SampleOptions& options, int64_t draws) {
  const at::Tensor many = logits.expand({draws, logits.size(1)});
  const at::Tensor ids = kernels::sample(many, keys(draws) * 0, keys(draws), options);
  std::vector<double> share(static_cast<size_t>(logits.size(1)), 0.0);
  for (int64_t i = 0; i < draws; ++i)
    share[static_cast<size_t>(ids.const_data_ptr<int64_t>()[i])] += 1.0 / static_cast<double>(draws);
  return share;
}

}  // namespace

TEST_CASE("sample: parity with the reference, draw by draw") {
  const SampleOptions kinds[] = {{.greedy = true},
                                 {.seed = 7},
                                 {.temperature = 0.5, .seed = 8},
                                 {.top_k = 1, .seed = 9},
                                 {.temperature = 1.3, .top_k = 5, .seed = 10},
                                 {.top_p = 0.6, .seed = 11},
                                 {.temperature = 0.8, .top_k = 20, .top_p = 0.9, .seed = 12},
                                 {.top_k = 10000, .top_p = 1e-6, .seed = 13}};
  for (const auto& [rows, vocab] :
       {std::pair<int64_t, int64_t>(1, 1), {3, 7}, {200 / kFewer, 37}, {150 / kFewer, 512}, {20 / kFewer, 3001}, {3, 70001}}) {
    for (const SampleOptions& options : kinds) {
      CAPTURE(vocab);
      CAPTURE(options.seed);
      const at::Tensor logits = normal({rows, vocab}, 1, 3.0), positions = keys(rows, 40);
      for (const at::Tensor& l : {logits, logits.to(at::kBFloat16)}) {
        at::Tensor logprobs, true_logprobs;
        const at::Tensor truth = kernels::sample_reference(l, keys(rows), positions, options, &true_logprobs);
        CHECK(kernels::sample(l, keys(rows), positions, options, &logprobs).equal(truth));
        CHECK(error_of(logprobs, true_logprobs) <= kParityFp32);
        if (vocab > 1) CHECK(error_of(logprobs + 1e-4, true_logprobs) > kParityFp32);
        // The twin: other logits (and, with a vocabulary of one, nothing to tell apart).
        if (vocab > 1 && rows > 1) CHECK(!kernels::sample(l.flip({1}), keys(rows), positions, options).equal(truth));
      }
    }
  }
}

TEST_CASE("sample: a row's draw depends on its key and position, not on the batch around it") {
  const at::Tensor logits = normal({8, 50}, 2);
  const SampleOptions options{.temperature = 1.5, .seed = 3};
  const at::Tensor all = kernels::sample(logits, keys(8, 100), keys(8, 5), options);
  for (int64_t r = 0; r < 8; ++r) {
    const at::Tensor one =
        kernels::sample(logits.narrow(0, r, 1), keys(8, 100).narrow(0, r, 1), keys(8, 5).narrow(0, r, 1), options);
    CHECK(one.equal(all.narrow(0, r, 1)));
  }
  CHECK(!kernels::sample(logits, keys(8, 200), keys(8, 5), options).equal(all));
  CHECK(!kernels::sample(logits, keys(8, 100), keys(8, 6), options).equal(all));
}

#ifndef PRUDENT_CUDA_EMULATED  // twenty thousand rows
TEST_CASE("sample: frequencies follow the softmax") {
  const auto share = frequencies(row({0.0f, 1.0f, 2.0f, -1.0f}), {.seed = 5}, 20000);
  const double total = 1.0 + std::exp(1.0) + std::exp(2.0) + std::exp(-1.0);
  CHECK(std::abs(share[0] - 1.0 / total) < 0.015);
  CHECK(std::abs(share[1] - std::exp(1.0) / total) < 0.015);
  CHECK(std::abs(share[2] - std::exp(2.0) / total) < 0.015);
}

#endif

TEST_CASE("sample: top-k keeps ties, top-p keeps the smallest sufficient set and at least one token") {
  const auto by_k = frequencies(row({1.0f, 3.0f, 1.0f, 0.0f}), {.top_k = 2, .seed = 1}, 4000 / kFewer);
  CHECK(by_k[0] > 0.0);
  CHECK(by_k[2] > 0.0);
  CHECK(by_k[3] == 0.0);
  // Probabilities 0.5, 0.3, 0.2.
  const at::Tensor logits = row({std::log(0.3f), std::log(0.5f), std::log(0.2f)});
  const auto two = frequencies(logits, {.top_p = 0.6, .seed = 2}, 4000 / kFewer);
  CHECK(two[0] > 0.3);
  CHECK(two[2] == 0.0);
  const auto one = frequencies(logits, {.top_p = 0.45, .seed = 2}, 1000 / kFewer);
  CHECK(one[1] == doctest::Approx(1.0));
  CHECK(frequencies(logits, {.top_p = 1e-9, .seed = 2}, 1000 / kFewer)[1] == doctest::Approx(1.0));
  // Top-k comes first: of {0.5, 0.3} rescaled to {0.625, 0.375}, 0.62 is held by the best alone.
  CHECK(frequencies(logits, {.top_k = 2, .top_p = 0.62, .seed = 2}, 1000 / kFewer)[1] == doctest::Approx(1.0));
}

TEST_CASE("sample: greedy takes the lowest id among equal maxima") {
  CHECK(kernels::sample(row({0.0f, 2.0f, 1.0f, 2.0f}), keys(1), keys(1), {.greedy = true}).item<int64_t>() == 1);
}

TEST_CASE("sample: masked logits are never drawn, broken ones are an error") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(frequencies(row({-inf, 0.0f, -inf}), {.seed = 1}, 500 / kFewer)[1] == doctest::Approx(1.0));
  for (const auto& logits : {row({nan, 0.0f, 1.0f}), row({inf, 0.0f, 1.0f}), row({-inf, -inf, -inf})}) {
    CHECK_THROWS_AS(kernels::sample(logits, keys(1), keys(1), {}), Error);
    CHECK_THROWS_AS(kernels::sample(logits, keys(1), keys(1), {.greedy = true}), Error);
  }
}

TEST_CASE("sample: recorded log-probabilities are of the logits as they came, whatever shapes the draw; a broken row has none") {
  const float inf = std::numeric_limits<float>::infinity();
  at::Tensor logits = normal({5, 700}, 4, 3.0);
  logits.select(0, 1).narrow(0, 0, 600).fill_(-inf);  // as a masked EOS is
  const at::Tensor truth = logits.to(at::kDouble).log_softmax(-1);
  for (const SampleOptions& options : {SampleOptions{.greedy = true}, SampleOptions{.temperature = 0.3, .seed = 1},
                                       SampleOptions{.temperature = 2.0, .top_k = 3, .top_p = 0.5, .seed = 2}}) {
    at::Tensor logprobs;
    const at::Tensor ids = kernels::sample(logits, keys(5), keys(5), options, &logprobs);
    CHECK(error_of(logprobs, truth.gather(1, ids.unsqueeze(1)).squeeze(1)) <= kParityFp32);
    CHECK(error_of(logprobs, truth.gather(1, (ids.unsqueeze(1) + 1).remainder(700)).squeeze(1)) > kParityFp32);
  }
  at::Tensor broken = logits.clone(), logprobs;
  broken[3][8] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(kernels::sample(broken, keys(5), keys(5), {.greedy = true}, &logprobs), Error);
  CHECK(logprobs.isnan().equal(keys(5) == 3));
  CHECK(error_of(logprobs.narrow(0, 0, 3), std::get<0>(truth.max(-1)).narrow(0, 0, 3)) <= kParityFp32);
}

TEST_CASE("sample: wrong arguments are named") {
  CHECK_THROWS_AS(kernels::sample(row({0.0f, 1.0f}), keys(1), keys(1), {.temperature = 0.0}), Error);
  CHECK_THROWS_AS(kernels::sample(row({0.0f, 1.0f}), keys(1), keys(1), {.top_p = 0.0}), Error);
  CHECK_THROWS_AS(kernels::sample(row({0.0f, 1.0f}), keys(2), keys(1), {}), Error);
}

}  // namespace prudent::tests
