// Generation by recorded forwards against the plain loop, on a real GPU.
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "models/generation.h"
#include "support/error_code.h"
#include "support/test_device.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::tiny_model;
using Rows = std::vector<std::vector<int32_t>>;

constexpr const char* kConfigs[] = {
    R"({"model_type":"gpt2","vocab_size":31,"n_embd":12,"n_layer":2,"n_head":3,"n_positions":128})",
    R"({"model_type":"gemma","vocab_size":29,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":1,"num_attention_heads":2,
        "num_key_value_heads":1,"max_position_embeddings":128,"head_dim":10})",
};

const bool kHasCuda = [] {
  const bool found = tests::has_cuda();
  if (!found) std::fprintf(stderr, "cuda_generation_test: SKIPPED: no usable GPU, or a build without CUDA\n");
  return found;
}();

// Prompts of 1 to 7 tokens; with more than 32 rows the bucket is no power of two.
Rows prompts_of(int64_t rows) {
  Rows prompts;
  for (int64_t row = 0; row < rows; ++row) {
    prompts.emplace_back();
    for (int64_t i = 0; i <= row * 5 % 7; ++i) prompts.back().push_back(static_cast<int32_t>(3 + (row * 11 + i * 7) % 20));
  }
  return prompts;
}

Rows run(const Model& model, const Rows& prompts, const GenerateOptions& options, bool graphs) {
  setenv("PRUDENT_CUDA_GRAPHS", graphs ? "1" : "0", 1);
  std::vector<int32_t> ids, lengths;
  std::vector<int64_t> keys;
  for (const auto& row : prompts) {
    ids.insert(ids.end(), row.begin(), row.end());
    lengths.push_back(static_cast<int32_t>(row.size()));
    keys.push_back(1000 + static_cast<int64_t>(keys.size()));
  }
  const PackedBatch batch =
      pack(ids.data(), static_cast<int64_t>(ids.size()), lengths.data(), static_cast<int64_t>(lengths.size()),
           model.config().vocab_size, model.config().max_positions, model.device());
  const Generated generated = generate(model, batch, keys, options, Job());
  Rows rows;
  auto at = generated.ids.begin();
  for (const int32_t length : generated.lengths) {
    rows.emplace_back(at, at + length);
    at += length;
  }
  return rows;
}

GenerateOptions sampling(uint64_t seed) {
  GenerateOptions options;
  options.max_new_tokens = 23;
  options.eos_token_ids = {1, 2, 6, 12};
  options.sampling.seed = seed;
  options.sampling.temperature = 1.3;
  return options;
}

}  // namespace

TEST_SUITE("cuda" * doctest::skip(!kHasCuda)) {
  TEST_CASE("cuda: recorded forwards draw what the plain loop draws, while rows end and buckets shrink") {
    for (const char* config : kConfigs) {
      const auto model = tiny_model(config, Task::CausalLm, at::kFloat, at::Device(at::kCUDA, 0));
      for (const int64_t rows : {1, 3, 40, 7}) {  // more rows than the buffers hold, then fewer
        for (const uint64_t seed : {1, 2}) {
          CAPTURE(rows);
          const Rows expected = run(*model, prompts_of(rows), sampling(seed), false);
          CHECK((run(*model, prompts_of(rows), sampling(seed), true) == expected));
          if (rows > 3) CHECK((run(*model, prompts_of(rows), sampling(seed + 10), true) != expected));
        }
      }
    }
  }

  TEST_CASE("cuda: recorded forwards see weights that were updated in place, top-p and the least number of tokens") {
    const auto model = tiny_model(kConfigs[0], Task::CausalLm, at::kFloat, at::Device(at::kCUDA, 0));
    GenerateOptions options = sampling(5);
    options.sampling.top_p = 0.9;
    options.min_new_tokens = 9;
    const Rows before = run(*model, prompts_of(12), options, true);
    CHECK((before == run(*model, prompts_of(12), options, false)));
    for (const auto& row : before) CHECK(row.size() >= 9);
    {
      const at::NoGradGuard no_grad;
      for (auto& [name, parameter] : model->parameters()) at::Tensor(parameter).mul_(1.5);
    }
    const Rows after = run(*model, prompts_of(12), options, true);
    CHECK((after == run(*model, prompts_of(12), options, false)));
    CHECK((after != before));
  }

  TEST_CASE("cuda: a cancelled call leaves the model able to generate") {
    const auto model = tiny_model(kConfigs[1], Task::CausalLm, at::kFloat, at::Device(at::kCUDA, 0));
    setenv("PRUDENT_CUDA_GRAPHS", "1", 1);
    const Rows expected = run(*model, prompts_of(5), sampling(3), false);
    const auto token = std::make_shared<CancelToken>();
    token->cancel();
    const std::vector<int32_t> ids = {3, 4, 5}, lengths = {3};
    const PackedBatch batch = pack(ids.data(), 3, lengths.data(), 1, 29, 128, model->device());
    setenv("PRUDENT_CUDA_GRAPHS", "1", 1);
    CHECK(tests::error_of([&] { (void)generate(*model, batch, {0}, sampling(3), Job(token, nullptr)); }).code == "E_CANCELLED");
    CHECK((run(*model, prompts_of(5), sampling(3), true) == expected));
  }
}

}  // namespace prudent::models
