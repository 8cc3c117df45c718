// Features of several layers, and a readout of them in place of score.weight.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "models/model.h"
#include "support/error_code.h"
#include "support/tiny_model.h"
#include "training/feature_cache.h"
#include "training/inference.h"

namespace prudent::models {
namespace {

using tests::error_of;
using tests::tiny_model;
using training::FeatureCache;

std::string config_of(const std::string& kind, int64_t layers) {
  if (kind == "gpt2") {
    return R"({"model_type":"gpt2","vocab_size":31,"n_embd":12,"n_head":3,"n_positions":48,"n_layer":)" + std::to_string(layers) +
           "}";
  }
  return R"({"model_type":")" + kind +
         R"(","vocab_size":31,"hidden_size":12,"intermediate_size":20,"num_attention_heads":2,
             "num_key_value_heads":1,"max_position_embeddings":48,"head_dim":10,"num_hidden_layers":)" +
         std::to_string(layers) + "}";
}

std::shared_ptr<Model> model_of(const std::string& kind, int64_t layers, at::ScalarType dtype = at::kFloat) {
  return tiny_model(config_of(kind, layers), Task::SequenceClassification, dtype);
}

const training::TokenRows kRows{.ids = {3, 4, 5, 6, 3, 4, 9, 9, 8, 7, 6, 5}, .lengths = {4, 3, 1, 4}};

at::Tensor features(const Model& model, const std::vector<int64_t>& layers, int64_t batch_tokens = 64) {
  return FeatureCache::compute(model, kRows, batch_tokens, Job(), true, layers)->features();
}

double worst(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace

TEST_CASE("layers: each is what a model of that many layers ends with, side by side") {
  for (const std::string kind : {"gemma", "llama", "gpt2"}) {
    CAPTURE(kind);
    const auto model = model_of(kind, 3);
    const at::Tensor last = features(*model, {});
    CHECK(features(*model, {3}).equal(last));
    for (const int64_t count : {1, 2}) CHECK(worst(features(*model, {count}), features(*model_of(kind, count), {})) < 1e-5);
    const at::Tensor both = features(*model, {1, 3});
    CHECK(worst(both, at::cat({features(*model, {1}), last}, 1)) < 1e-5);
    CHECK(worst(features(*model, {1}), last) > 1e-2);
    CHECK(worst(both, features(*model, {1, 3}, 5)) < 1e-5);
    const auto cache = FeatureCache::compute(*model, kRows, 64, Job(), true, {1, 3});
    CHECK(cache->columns(12, 12)->features().equal(both.narrow(1, 12, 12)));
    CHECK(error_of([&] { (void)cache->columns(13, 12); }).code == "E_RANGE");
  }
}

TEST_CASE("layers: numbers that no layer has, or that do not ascend, are refused") {
  const auto model = model_of("llama", 3);
  for (const std::vector<int64_t>& layers : {std::vector<int64_t>{0}, {4}, {2, 2}, {2, 1}}) {
    const Error error = error_of([&] { (void)features(*model, layers); });
    CHECK(error.code == "E_RANGE");
    CHECK(error.argument == (layers.size() == 1 ? "layers[0]" : "layers[1]"));
  }
}

TEST_CASE("readout: scores by its own weight until there are other heads, in fp32 whatever the model") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = model_of("gemma", 3, dtype);
    const at::Tensor weight = tests::tiny_values("readout", {5, 24}, Architecture::Gemma) + 1.0 / 4096;  // no bf16 number
    const at::Tensor before = training::score_rows(*model, kRows, 64, Job());
    model->set_readout(Readout{.weight = weight, .heads = 2, .spread = 3, .layers = {2, 3}});
    const at::Tensor scores = training::score_rows(*model, kRows, 64, Job());
    CHECK(worst(scores, at::linear(features(*model, {2, 3}), weight)) < 1e-5);
    CHECK(training::score_rows(*model->clone(), kRows, 64, Job()).equal(scores));
    model->set_readout(std::nullopt);
    CHECK(training::score_rows(*model, kRows, 64, Job()).equal(before));
    model->set_readout(Readout{.weight = weight, .heads = 5, .spread = 0, .layers = {2, 3}});
    model->set_score_weight(at::ones({1, 12}));
    CHECK(training::score_rows(*model, kRows, 64, Job()).size(1) == 1);
  }
}

TEST_CASE("readout: wrong shapes, numbers and models are refused") {
  const auto model = model_of("llama", 2);
  const auto code = [&](Readout readout) { return error_of([&] { model->set_readout(std::move(readout)); }).code; };
  CHECK(code({.weight = at::ones({3, 12}), .heads = 2, .spread = 0, .layers = {2}}) == "E_SHAPE");
  CHECK(code({.weight = at::ones({3, 12}), .heads = 3, .spread = 0, .layers = {1, 2}}) == "E_SHAPE");
  CHECK(code({.weight = at::ones({3, 12}), .heads = 0, .spread = 3, .layers = {2}}) == "E_RANGE");
  CHECK(code({.weight = at::ones({3, 12}), .heads = 3, .spread = 0, .layers = {}}) == "E_RANGE");
  CHECK(code({.weight = at::ones({3, 12}), .heads = 3, .spread = 0, .layers = {3}}) == "E_RANGE");
  CHECK(code({.weight = at::full({3, 12}, NAN), .heads = 3, .spread = 0, .layers = {2}}) == "E_NON_FINITE");
  CHECK(code({.weight = at::ones({3, 12}), .heads = 3, .spread = 0, .layers = {2}}).empty());
  const auto causal = tiny_model(config_of("llama", 2), Task::CausalLm, at::kFloat);
  CHECK(error_of([&] {
          causal->set_readout(Readout{.weight = at::ones({1, 12}), .heads = 1, .spread = 0, .layers = {2}});
        }).code == "E_NO_HEAD");
}

}  // namespace prudent::models
