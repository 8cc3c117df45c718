#include "models/generation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "models/kv_cache.h"
#include "support/error_code.h"
#include "support/model_tolerances.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::error_of;
using tests::tiny_model;
using Rows = std::vector<std::vector<int32_t>>;

constexpr const char* kConfigs[] = {
    R"({"model_type":"gpt2","vocab_size":31,"n_embd":12,"n_layer":2,"n_head":3,"n_positions":48})",
    R"({"model_type":"llama","vocab_size":29,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"max_position_embeddings":48,"head_dim":6})",
    R"({"model_type":"gemma","vocab_size":29,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":1,"num_attention_heads":2,
        "num_key_value_heads":1,"max_position_embeddings":48,"head_dim":10})",
};
const Rows kPrompts = {{3, 4, 5}, {9}, {7, 7, 7, 7, 7, 7, 8}, {20, 3}};

PackedBatch pack_rows(const Model& model, const Rows& rows) {
  std::vector<int32_t> ids, lengths;
  for (const auto& row : rows) {
    ids.insert(ids.end(), row.begin(), row.end());
    lengths.push_back(static_cast<int32_t>(row.size()));
  }
  return pack(ids.data(), static_cast<int64_t>(ids.size()), lengths.data(), static_cast<int64_t>(lengths.size()),
              model.config().vocab_size, model.config().max_positions, model.device());
}

Rows generate_rows(const Model& model, const Rows& prompts, const std::vector<int64_t>& keys, const GenerateOptions& options) {
  const Generated generated = generate(model, pack_rows(model, prompts), keys, options, Job());
  Rows rows;
  auto at = generated.ids.begin();
  for (const int32_t length : generated.lengths) {
    rows.emplace_back(at, at + length);
    at += length;
  }
  return rows;
}

GenerateOptions sampling_options(uint64_t seed) {
  GenerateOptions options;
  options.max_new_tokens = 16;
  options.eos_token_ids = {1, 2, 6, 12, 17, 25};
  options.sampling.seed = seed;
  options.sampling.temperature = 1.3;
  return options;
}

// The plain truth: the whole row through the model for every token.
std::vector<int32_t> greedy_without_cache(const Model& model, std::vector<int32_t> row, int64_t count) {
  std::vector<int32_t> response;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor hidden = model.hidden(pack_rows(model, {row}));
    const auto id = static_cast<int32_t>(model.logits(hidden.narrow(0, hidden.size(0) - 1, 1)).argmax().item<int64_t>());
    row.push_back(id);
    response.push_back(id);
  }
  return response;
}

TEST_CASE("generation: with a cache the tokens are those of the whole forward") {
  for (const char* config : kConfigs) {
    CAPTURE(config);
    const auto model = tiny_model(config, Task::CausalLm, at::kFloat);
    GenerateOptions options;
    options.max_new_tokens = 20;
    options.sampling.greedy = true;
    const Rows responses = generate_rows(*model, kPrompts, {0, 1, 2, 3}, options);
    for (size_t row = 0; row < kPrompts.size(); ++row) CHECK((responses[row] == greedy_without_cache(*model, kPrompts[row], 20)));
  }
}

TEST_CASE("generation: rows stop at any of their EOS ids and keep it; the others go on as if alone") {
  for (const char* config : kConfigs) {
    CAPTURE(config);
    const auto model = tiny_model(config, Task::CausalLm, at::kFloat);
    GenerateOptions options;
    options.max_new_tokens = 20;
    options.sampling.greedy = true;
    const Rows whole = generate_rows(*model, kPrompts, {0, 1, 2, 3}, options);
    options.eos_token_ids = {whole[0][4], whole[2][1]};
    const Rows stopped = generate_rows(*model, kPrompts, {0, 1, 2, 3}, options);
    for (size_t row = 0; row < kPrompts.size(); ++row) {
      std::vector<int32_t> expected;
      for (const int32_t id : whole[row]) {
        expected.push_back(id);
        if (id == whole[0][4] || id == whole[2][1]) break;
      }
      CHECK((stopped[row] == expected));
    }
  }
}

TEST_CASE("generation: a sample depends on seed, key and row alone, not on the batch around it") {
  const auto model = tiny_model(kConfigs[1], Task::CausalLm, at::kFloat);
  const Rows together = generate_rows(*model, kPrompts, {10, 11, 12, 13}, sampling_options(1));
  CHECK((together == generate_rows(*model, kPrompts, {10, 11, 12, 13}, sampling_options(1))));
  for (size_t row = 0; row < kPrompts.size(); ++row) {
    CHECK((generate_rows(*model, {kPrompts[row]}, {10 + static_cast<int64_t>(row)}, sampling_options(1))[0] == together[row]));
  }
  CHECK((together != generate_rows(*model, kPrompts, {10, 11, 12, 13}, sampling_options(2))));
  CHECK((together != generate_rows(*model, kPrompts, {20, 21, 22, 23}, sampling_options(1))));
}

TEST_CASE("generation: first tokens are drawn with the model's probabilities") {
  const auto model = tiny_model(kConfigs[0], Task::CausalLm, at::kFloat);
  constexpr int64_t kDraws = 4000;
  GenerateOptions options;
  options.max_new_tokens = 1;
  options.sampling.seed = 3;
  std::vector<int64_t> keys;
  for (int64_t i = 0; i < kDraws; ++i) keys.push_back(i);
  std::map<int32_t, int64_t> counts;
  for (const auto& row : generate_rows(*model, Rows(kDraws, {3, 4}), keys, options)) ++counts[row[0]];
  const at::Tensor hidden = model->hidden(pack_rows(*model, {{3, 4}})).narrow(0, 1, 1);
  const at::Tensor probabilities = model->logits(hidden).softmax(-1).to(at::kCPU, at::kDouble).flatten().contiguous();
  double chi_squared = 0;
  for (int64_t id = 0; id < probabilities.size(0); ++id) {
    const double expected = probabilities.const_data_ptr<double>()[id] * kDraws;
    const double difference = static_cast<double>(counts[static_cast<int32_t>(id)]) - expected;
    chi_squared += difference * difference / std::max(expected, 1.0);
  }
  CHECK(chi_squared < 80.0);  // 30 degrees of freedom: 60 is one in a thousand, and the seed is fixed
}

TEST_CASE("generation: no EOS before the least number of tokens") {
  const auto model = tiny_model(kConfigs[1], Task::CausalLm, at::kFloat);
  GenerateOptions options = sampling_options(4);
  options.min_new_tokens = 5;
  for (const auto& row : generate_rows(*model, kPrompts, {0, 1, 2, 3}, options)) {
    CHECK(row.size() >= 5);
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      CHECK(std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), row[i]) == options.eos_token_ids.end());
    }
  }
}

TEST_CASE("generation: what cannot be done is refused before any work") {
  const auto model = tiny_model(kConfigs[1], Task::CausalLm, at::kFloat);
  GenerateOptions options;
  options.max_new_tokens = 41;
  CHECK(error_of([&] { (void)generate_rows(*model, kPrompts, {0, 1, 2, 3}, options); }).code.empty());
  options.max_new_tokens = 42;
  CHECK(error_of([&] { (void)generate_rows(*model, kPrompts, {0, 1, 2, 3}, options); }).code == "E_TOO_LONG");
  options.max_new_tokens = 0;
  CHECK(error_of([&] { (void)generate_rows(*model, kPrompts, {0, 1, 2, 3}, options); }).code == "E_RANGE");
  options = {};
  CHECK(error_of([&] { (void)generate_rows(*model, kPrompts, {0}, options); }).code == "E_SHAPE");
  const auto classifier = tiny_model(kConfigs[1], Task::SequenceClassification, at::kFloat);
  CHECK(error_of([&] { (void)generate_rows(*classifier, kPrompts, {0, 1, 2, 3}, options); }).code == "E_NO_HEAD");
}

TEST_CASE("generation: progress is reported and a cancel is heeded between tokens") {
  const auto model = tiny_model(kConfigs[0], Task::CausalLm, at::kFloat);
  const auto token = std::make_shared<CancelToken>();
  int64_t reports = 0;
  const Job job(token, [&](int64_t, int64_t total) {
    CHECK(total == 4);
    if (++reports == 3) token->cancel();
  });
  GenerateOptions options;
  CHECK(error_of([&] { (void)generate(*model, pack_rows(*model, kPrompts), {0, 1, 2, 3}, options, job); }).code == "E_CANCELLED");
  CHECK(reports == 3);
}

TEST_CASE("cache: a row that leaves takes nothing of the others along") {
  const auto model = tiny_model(kConfigs[2], Task::CausalLm, at::kFloat);
  const at::NoGradGuard no_grad;
  KvCache cache(model->config(), 4, 16, at::kFloat, model->device());
  (void)model->hidden(pack_rows(*model, kPrompts), &cache);
  cache.remove_row(0);  // row 3 takes its place
  CHECK(cache.rows() == 3);
  CHECK(cache.length(0) == 2);
  CHECK(cache.length(2) == 7);
  PackedBatch next = pack_rows(*model, {{11}, {12}, {13}});
  for (int64_t row = 0; row < 3; ++row) next.positions.select(0, row).fill_(cache.length(row));
  const at::Tensor hidden = model->hidden(next, &cache);
  const Rows continued = {{20, 3, 11}, {9, 12}, {7, 7, 7, 7, 7, 7, 8, 13}};
  const PackedBatch whole = pack_rows(*model, continued);
  const at::Tensor expected = model->hidden(whole).index_select(0, whole.last_index());
  CHECK(hidden.sub(expected).abs().max().item<double>() < tests::kModelFp32 * expected.abs().max().item<double>());
}

}  // namespace
}  // namespace prudent::models
