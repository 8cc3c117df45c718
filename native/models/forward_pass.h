// What the blocks of one forward have in common: the batch, the cache, and which tokens are read in the end.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

#include "kernels/packed_attention/packed_attention.h"
#include "models/kv_cache.h"
#include "models/model.h"
#include "models/packed_batch.h"

namespace prudent::models {

// Kept by the blocks that an activation checkpoint runs again, so it owns what it refers to (but the cache, which knows no
// gradient).
class ForwardPass {
 public:
  // Begins the cache's next forward, when there is one. E_RANGE for rows that are not ascending token numbers.
  ForwardPass(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options);

  [[nodiscard]] KvCache* cache() const { return cache_; }
  // Positions that the rows reach, those in the cache included.
  [[nodiscard]] int64_t longest_row() const { return longest_row_; }

  // The last block computes keys and values of all tokens, all else only for those that are read.
  [[nodiscard]] at::Tensor read(const at::Tensor& x, bool last_block) const;
  [[nodiscard]] const at::Tensor& positions(bool last_block) const { return last_block ? read_positions_ : positions_; }
  [[nodiscard]] const kernels::AttentionLayout& layout(bool last_block) const { return last_block ? read_layout_ : layout_; }
  // Keys and values of the tokens before the batch's own, or nullptr.
  [[nodiscard]] const KvCache* kept() const { return kept_.get(); }

 private:
  KvCache* cache_;
  std::shared_ptr<const KvCache> kept_;
  int64_t longest_row_ = 0;
  at::Tensor read_index_;                  // [read] int64 on the model's device; undefined: all are read
  at::Tensor positions_, read_positions_;  // [tokens], [read]
  kernels::AttentionLayout layout_, read_layout_;
};

// block(x). With `checkpoint` and gradients asked for, only x is kept: the backward runs the block again, and gives the same
// gradients. `parameters` are those that the block uses. What a block gives when it is run again is not read but only
// differentiated: value_is_read is false then, and its last product need not be computed.
using Block = std::function<at::Tensor(const at::Tensor& x, bool value_is_read)>;
at::Tensor run_block(bool checkpoint, const at::Tensor& x, const std::vector<at::Tensor>& parameters, const Block& block);

// E_RANGE unless `layers` are ascending numbers in [1, count].
void check_layers(const std::vector<int64_t>& layers, int64_t count);

// Runs blocks 0 … count - 1 on x and the final norm; with options.layers, stops at the last of them and gives them side by side.
using NumberedBlock = std::function<at::Tensor(int64_t, const at::Tensor&)>;
using Norm = std::function<at::Tensor(const at::Tensor&)>;
at::Tensor run_blocks(int64_t count, at::Tensor x, const ForwardPass& pass, const HiddenOptions& options,
                      const NumberedBlock& block, const Norm& norm);

}  // namespace prudent::models
