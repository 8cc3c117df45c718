// Blocks whose products run in 8-bit integers.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "models/model.h"
#include "support/error_code.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::tiny_model;

const std::string kConfigs[] = {
    R"({"model_type":"gpt2","vocab_size":31,"n_embd":48,"n_layer":3,"n_head":3,"n_positions":48})",
    R"({"model_type":"llama","vocab_size":31,"hidden_size":40,"intermediate_size":70,"num_hidden_layers":3,"num_attention_heads":4,
        "num_key_value_heads":2,"max_position_embeddings":48,"head_dim":10,"attention_bias":true})",
    R"({"model_type":"gemma","vocab_size":31,"hidden_size":40,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":2,
        "num_key_value_heads":1,"max_position_embeddings":48,"head_dim":20})",
};
const std::vector<int32_t> kIds = {3, 4, 5, 6, 7, 1, 8, 9, 2, 11, 12, 13, 9, 30, 29, 28};

at::Tensor scores_of(const Model& model, const std::vector<int32_t>& lengths) {
  const at::NoGradGuard no_grad;
  const auto total = static_cast<int64_t>(kIds.size());
  return model.scores(pack(kIds.data(), total, lengths.data(), static_cast<int64_t>(lengths.size()), 31, 48, at::kCPU));
}

}  // namespace

TEST_CASE("int8: scores are near those of the model's dtype, and a row's do not depend on the others") {
  for (const std::string& config : kConfigs) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      CAPTURE(config);
      const auto model = tiny_model(config, Task::SequenceClassification, dtype, at::kCPU);
      const auto int8 = model->clone();
      int8->quantise();
      CHECK(int8->is_quantised());
      const std::vector<int32_t> lengths = {6, 3, 7};
      const at::Tensor exact = scores_of(*model, lengths), near = scores_of(*int8, lengths);
      const double off = ((near - exact).norm() / exact.norm()).item<double>();
      CHECK(off > 0);
      CHECK(off < 0.05);
      CHECK(scores_of(*int8->clone(), lengths).equal(near));
      CHECK(scores_of(*int8, {6, 10})[0].equal(near[0]));
    }
  }
}

TEST_CASE("int8: a quantised model is not trained, and its parameters stay as they were") {
  const auto model = tiny_model(kConfigs[1], Task::SequenceClassification, at::kFloat, at::kCPU);
  const auto int8 = model->clone();
  int8->quantise();
  CHECK(tests::error_of([&] { int8->set_requires_grad(true); }).code == "E_STATE");
  const auto before = model->parameters(), after = int8->parameters();
  REQUIRE(before.size() == after.size());
  for (size_t i = 0; i < before.size(); ++i) CHECK(before[i].second.equal(after[i].second));
}

}  // namespace prudent::models
