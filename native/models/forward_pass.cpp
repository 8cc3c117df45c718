#include "models/forward_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "core/error.h"
#include "core/transfer.h"

namespace prudent::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A block to run again, in the graph that waits for it.
struct KeptBlock : torch::CustomClassHolder {
  explicit KeptBlock(Block given) : run(std::move(given)) {}
  Block run;
};

// Stands in the graph for a whole block. Its inputs are the block's x and parameters.
struct CheckpointNode : torch::autograd::Function<CheckpointNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::TensorList parameters, const Block& block) {
    variable_list kept{x};
    kept.insert(kept.end(), parameters.begin(), parameters.end());
    context->save_for_backward(std::move(kept));
    context->saved_data["block"] = at::IValue::make_capsule(c10::make_intrusive<KeptBlock>(block));
    return block(x, /*value_is_read=*/true);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list inputs = context->get_saved_variables();
    inputs.front() = inputs.front().detach().requires_grad_(inputs.front().requires_grad());
    variable_list wanted;
    for (const at::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const auto block = c10::static_intrusive_pointer_cast<KeptBlock>(context->saved_data["block"].toCapsule());
    const at::AutoGradMode with_grad(true);
    const variable_list found =
        torch::autograd::grad({block->run(inputs.front(), /*value_is_read=*/false)}, wanted, {grads.front()}, std::nullopt,
                              /*create_graph=*/false, /*allow_unused=*/true);
    variable_list result;
    for (auto next = found.begin(); const at::Tensor& input : inputs)
      result.push_back(input.requires_grad() ? *next++ : at::Tensor());
    result.emplace_back();  // the block
    return result;
  }
};

int64_t longest_row_of(const PackedBatch& batch, const KvCache* cache) {
  if (cache != nullptr && cache->follows_positions()) return cache->capacity();  // whatever the rows will reach
  int64_t most = 0;
  if (cache != nullptr && !cache->prefilling()) {
    for (int64_t row = 0; row < batch.rows(); ++row) most = std::max<int64_t>(most, cache->length(row));
    return most;
  }
  const auto* parents = batch.parents.defined() ? batch.parents.const_data_ptr<int32_t>() : nullptr;
  std::vector<int64_t> lengths(batch.lengths.begin(), batch.lengths.end());  // with what each segment continues
  for (size_t segment = 0; segment < lengths.size(); ++segment) {
    if (parents != nullptr && parents[segment] >= 0) lengths[segment] += lengths[static_cast<size_t>(parents[segment])];
    most = std::max(most, lengths[segment]);
  }
  return most;
}

}  // namespace

ForwardPass::ForwardPass(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options)
    : cache_(cache),
      kept_(batch.kept),
      positions_(batch.positions),
      read_positions_(batch.positions),
      layout_(batch.cu_seqlens, batch.parents),
      read_layout_(layout_) {
  if (cache != nullptr) cache->begin(batch);
  longest_row_ = longest_row_of(batch, cache);
  // Attention counts the kept tokens too: they have keys and values, but ask nothing.
  const int64_t known = batch.kept_tokens();
  if (known > 0) read_layout_.queries = layout_.queries = at::arange(known, known + batch.tokens(), at::kLong);
  if (!options.rows.defined()) return;
  PRUDENT_CHECK(cache == nullptr || cache->prefilling(), "E_STATE", "rows", "a forward of whole rows", "one token a row");
  if (options.rows.size(0) == batch.tokens()) return;  // ascending: all of them
  read_layout_.queries = known > 0 ? options.rows + known : options.rows;
  read_index_ = to_device(options.rows, batch.positions.device());
  read_positions_ = at::index_select(batch.positions, 0, read_index_);
}

at::Tensor ForwardPass::read(const at::Tensor& x, bool last_block) const {
  return last_block && read_index_.defined() ? at::index_select(x, 0, read_index_) : x;
}

at::Tensor run_block(bool checkpoint, const at::Tensor& x, const std::vector<at::Tensor>& parameters, const Block& block) {
  if (!checkpoint || !at::GradMode::is_enabled()) return block(x, /*value_is_read=*/true);
  return CheckpointNode::apply(x, at::TensorList(parameters), block);
}

void check_layers(const std::vector<int64_t>& layers, int64_t count) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const int64_t low = i == 0 ? 1 : layers[i - 1] + 1;
    PRUDENT_CHECK(layers[i] >= low && layers[i] <= count, "E_RANGE", "layers[" + std::to_string(i) + "]",
                  "an integer in [" + std::to_string(low) + ", " + std::to_string(count) + "] (layers ascend)",
                  std::to_string(layers[i]));
  }
}

at::Tensor run_blocks(int64_t count, at::Tensor x, const ForwardPass& pass, const HiddenOptions& options,
                      const NumberedBlock& block, const Norm& norm) {
  check_layers(options.layers, count);
  const int64_t last = options.layers.empty() ? count : options.layers.back();
  std::vector<at::Tensor> kept;
  for (int64_t i = 0; i < last; ++i) {
    x = block(i, x);
    if (!std::binary_search(options.layers.begin(), options.layers.end(), i + 1)) continue;
    // The last block has read its rows itself.
    kept.push_back(norm(i + 1 == count ? x : pass.read(x, /*last_block=*/true)));
  }
  if (kept.empty()) return norm(x);
  return kept.size() == 1 ? kept.front() : at::cat(kept, 1);
}

}  // namespace prudent::models
