// What a forward leaves out must not be missed: rows that nobody reads, prefixes that others have computed, activations that a
// backward computes again.
#include "models/forward_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>

#include "support/allocation_peak.h"
#include "support/error_code.h"
#include "support/model_tolerances.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::error_of;
using tests::tiny_model;
using Rows = std::vector<std::vector<int32_t>>;

const std::string kConfigs[] = {
    R"({"model_type":"gpt2","vocab_size":31,"n_embd":12,"n_layer":3,"n_head":3,"n_positions":48})",
    R"({"model_type":"llama","vocab_size":31,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":3,"num_attention_heads":4,
        "num_key_value_heads":2,"max_position_embeddings":48,"head_dim":6,"attention_bias":true})",
    R"({"model_type":"gemma","vocab_size":31,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":1,"num_attention_heads":2,
        "num_key_value_heads":1,"max_position_embeddings":48,"head_dim":10})",
};
// Sorted: pairs of neighbours share 5, 7, 0, 2 and 2 tokens.
const Rows kRows = {{3, 4, 5, 6, 7, 1}, {3, 4, 5, 6, 7, 8, 9, 2}, {3, 4, 5, 6, 7, 8, 9, 11, 12, 13}, {9}, {9, 9, 1, 2}, {9, 9, 3},
                    {9, 9, 4, 5}};
const std::vector<int32_t> kShared = {0, 5, 7, 0, 0, 2, 2};

std::vector<RowView> views(const Rows& rows) {
  std::vector<RowView> result;
  for (const auto& row : rows) result.push_back({row.data(), static_cast<int32_t>(row.size())});
  return result;
}

PackedBatch apart(const Rows& rows) { return pack_shared(views(rows), std::vector<int32_t>(rows.size(), 0), at::kCPU); }
PackedBatch together() { return pack_shared(views(kRows), kShared, at::kCPU); }

struct Outcome {
  at::Tensor hidden;
  std::vector<at::Tensor> gradients;
};

// Hidden states, and the gradients of their sum with fixed weights, of every parameter.
template <typename Forward>
Outcome outcome_of(Model& model, const Forward& forward) {
  const at::AutoGradMode with_grad(true);
  model.set_requires_grad(true);
  std::vector<at::Tensor> parameters;
  for (const auto& [name, parameter] : model.parameters()) parameters.push_back(parameter);
  const at::Tensor hidden = forward();
  at::Tensor weights = at::empty_like(hidden);
  for (int64_t i = 0; i < weights.numel(); ++i) {
    weights.mutable_data_ptr<float>()[i] = static_cast<float>(tests::tiny_hash("weights", i));
  }
  auto gradients = torch::autograd::grad({hidden}, parameters, {weights}, std::nullopt, false, /*allow_unused=*/true);
  return {hidden.detach(), std::move(gradients)};
}

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  const double scale = std::max(1e-6, expected.abs().max().item<double>());
  return (actual - expected).abs().max().item<double>() / scale;
}

double worst_error(const Outcome& actual, const Outcome& expected) {
  double worst = relative_error(actual.hidden, expected.hidden), scale = 0;
  for (const at::Tensor& gradient : expected.gradients) {
    if (gradient.defined()) scale = std::max(scale, gradient.abs().max().item<double>());
  }
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    REQUIRE(actual.gradients[i].defined() == expected.gradients[i].defined());
    if (!expected.gradients[i].defined()) continue;
    worst = std::max(worst, (actual.gradients[i] - expected.gradients[i]).abs().max().item<double>() / scale);
  }
  return worst;
}

bool same_bits(const Outcome& a, const Outcome& b) {
  bool same = a.hidden.equal(b.hidden);
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    same = same && a.gradients[i].defined() == b.gradients[i].defined();
    if (a.gradients[i].defined()) same = same && a.gradients[i].equal(b.gradients[i]);
  }
  return same;
}

at::Tensor int64(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

std::shared_ptr<Model> causal(const std::string& config) { return tiny_model(config, Task::CausalLm, at::kFloat); }

}  // namespace

TEST_CASE("forward: the rows that are read, and their gradients, are those of the whole forward") {
  for (const std::string& config : kConfigs) {
    CAPTURE(config);
    const auto model = causal(config);
    const PackedBatch batch = apart(kRows);
    for (const at::Tensor& rows : {batch.last_index(), int64({0, 2, 3, 17, 30, 31})}) {
      const Outcome whole = outcome_of(*model, [&] { return model->hidden(batch).index_select(0, rows); });
      const Outcome read = outcome_of(*model, [&] { return model->hidden(batch, nullptr, {.rows = rows}); });
      CHECK(worst_error(read, whole) < tests::kModelFp32);
      const Outcome others =
          outcome_of(*model, [&] { return model->hidden(batch, nullptr, {.rows = rows.add(1).clamp_max(35)}); });
      CHECK(relative_error(others.hidden, whole.hidden) > tests::kModelFp32);
    }
    CHECK(error_of([&] { (void)model->hidden(batch, nullptr, {.rows = int64({3, 2})}); }).code == "E_RANGE");
  }
}

TEST_CASE("forward: a batch that shares prefixes is laid out as a tree") {
  const PackedBatch batch = together();
  CHECK(batch.lengths == std::vector<int32_t>{5, 1, 2, 1, 3, 1, 2, 2, 1, 2});
  const std::vector<int32_t> parents(batch.parents.const_data_ptr<int32_t>(), batch.parents.const_data_ptr<int32_t>() + 10);
  CHECK(parents == std::vector<int32_t>{-1, 0, 0, 2, 2, -1, -1, 6, 6, 6});
  CHECK(batch.ends == std::vector<int64_t>{5, 8, 11, 12, 16, 17, 19});
  CHECK(batch.tokens() == 20);
  CHECK(batch.rows() == 7);
  CHECK(batch.positions.equal(int64({0, 1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9, 0, 0, 1, 2, 3, 2, 2, 3})));
  CHECK(batch.ids.equal(int64({3, 4, 5, 6, 7, 1, 8, 9, 2, 11, 12, 13, 9, 9, 9, 1, 2, 3, 4, 5})));
  CHECK(!apart(kRows).parents.defined());
  CHECK(error_of([] { pack_shared(views(kRows), {0, 6, 7, 0, 0, 2, 2}, at::kCPU); }).code == "E_RANGE");  // nothing of its own
}

TEST_CASE("forward: shared prefixes change neither hidden states nor gradients") {
  for (const std::string& config : kConfigs) {
    CAPTURE(config);
    const auto model = causal(config);
    const Outcome alone = outcome_of(*model, [&] { return model->last_hidden(apart(kRows)); });
    const Outcome shared = outcome_of(*model, [&] { return model->last_hidden(together()); });
    CHECK(worst_error(shared, alone) < tests::kModelFp32);
    // The twin: a prefix that the rows do not have.
    Rows wrong = kRows;
    wrong[1][4] = 8;
    const Outcome other = outcome_of(*model, [&] { return model->last_hidden(apart(wrong)); });
    CHECK(worst_error(shared, other) > tests::kModelFp32);
  }
}

TEST_CASE("forward: checkpoints give the same gradients to the bit") {
  for (const std::string& config : kConfigs) {
    CAPTURE(config);
    const auto model = causal(config);
    const PackedBatch batch = together();
    for (const at::Tensor& rows : {at::Tensor(), batch.last_index()}) {
      const Outcome kept = outcome_of(*model, [&] { return model->hidden(batch, nullptr, {.rows = rows}); });
      const int64_t one = model->block_bytes(batch.tokens(), batch.tokens());
      for (const std::optional<int64_t> bytes : {std::optional<int64_t>(), std::optional<int64_t>(0), std::optional(3 * one)}) {
        const HiddenOptions options{.rows = rows, .checkpoint = {.enabled = true, .activation_bytes = bytes}};
        CHECK(same_bits(outcome_of(*model, [&] { return model->hidden(batch, nullptr, options); }), kept));
        const Outcome other = outcome_of(*model, [&] { return model->hidden(batch, nullptr, options).mul(1.0 + 1e-3); });
        CHECK(!same_bits(other, kept));
      }
    }
  }
}

// What activations take in the memory of a step, of models with a block large enough to outweigh everything else.
struct ActivationMemory {
  std::shared_ptr<Model> model;
  PackedBatch batch = apart(Rows(4, std::vector<int32_t>(200, 7)));

  explicit ActivationMemory(const std::string& config) : model(causal(config)) {
    model->set_requires_grad(true);
    (void)model->hidden(batch);  // tables that stay
  }
  [[nodiscard]] int64_t held_after_forward(const Checkpointing& checkpoint) const {
    const at::AutoGradMode with_grad(true);
    const tests::AllocationPeak allocations;
    const at::Tensor hidden = model->hidden(batch, nullptr, {.checkpoint = checkpoint});
    return allocations.held();
  }
  [[nodiscard]] int64_t peak_of_step(const Checkpointing& checkpoint) const {
    const tests::AllocationPeak allocations;
    (void)outcome_of(*model, [&] { return model->hidden(batch, nullptr, {.checkpoint = checkpoint}); });
    return allocations.peak();
  }
};

const std::string kDeepConfigs[] = {
    R"({"model_type":"llama","vocab_size":31,"hidden_size":16,"intermediate_size":64,"num_hidden_layers":6,
        "num_attention_heads":4,"num_key_value_heads":4,"max_position_embeddings":256,"head_dim":4})",
    R"({"model_type":"gemma","vocab_size":31,"hidden_size":24,"intermediate_size":40,"num_hidden_layers":6,
        "num_attention_heads":4,"num_key_value_heads":1,"max_position_embeddings":256,"head_dim":8})",
    R"({"model_type":"gpt2","vocab_size":31,"n_embd":16,"n_layer":6,"n_head":4,"n_positions":256,"n_inner":48})",
};

TEST_CASE("forward: checkpoints keep the input of each block alone") {
  const ActivationMemory memory(kDeepConfigs[0]);
  const int64_t block_input = memory.batch.tokens() * 16 * static_cast<int64_t>(sizeof(float));
  const Checkpointing inputs_alone{.enabled = true, .activation_bytes = 0};
  // Six inputs of blocks, the input and output of the last norm and what that keeps; each block would keep some twenty of them.
  CHECK(memory.held_after_forward(inputs_alone) < 10 * block_input);
  CHECK(memory.held_after_forward({}) > 60 * block_input);
  CHECK(memory.peak_of_step(inputs_alone) < memory.peak_of_step({}) / 2);
}

TEST_CASE("forward: blocks keep what block_bytes says, as many as fit into the activation memory") {
  for (const std::string& config : kDeepConfigs) {
    CAPTURE(config);
    const ActivationMemory memory(config);
    const int64_t tokens = memory.batch.tokens(), one = memory.model->block_bytes(tokens, tokens);
    const int64_t none = memory.held_after_forward({.enabled = true, .activation_bytes = 0});
    for (const int64_t blocks : {1, 3, 6}) {
      const int64_t kept = memory.held_after_forward({.enabled = true, .activation_bytes = blocks * one + one / 2}) - none;
      CHECK(kept > blocks * one * 95 / 100);
      CHECK(kept < blocks * one * 115 / 100);  // and the few numbers a token
    }
    // By default as much as running a block again takes anyway: the peak is the same but for the last norm's share.
    CHECK(memory.held_after_forward({.enabled = true}) > none + one * 95 / 100);
    CHECK(memory.peak_of_step({.enabled = true}) < memory.peak_of_step({.enabled = true, .activation_bytes = 0}) + one / 4);
  }
}

}  // namespace prudent::models
