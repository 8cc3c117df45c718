// Keys and values of the tokens seen so far, per layer and row. Rows that are done leave it; the last live row takes their slot.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/config.h"
#include "models/packed_batch.h"

namespace prudent::models {

class KvCache {
 public:
  // capacity: the most tokens a row may come to hold.
  KvCache(const ModelConfig& config, int64_t rows, int64_t capacity, at::ScalarType dtype, const at::Device& device);

  [[nodiscard]] bool empty() const { return lengths_.empty(); }
  [[nodiscard]] int64_t rows() const { return rows_; }

  // Called once per forward, before its layers: books room for the batch's tokens (an empty cache: whole prompts; else one
  // token a row, in the cache's row order).
  void begin(const PackedBatch& batch);
  // Stores k and v [tokens, kv_heads, head_dim] of the batch given to begin().
  void store(int64_t layer, const at::Tensor& k, const at::Tensor& v);
  [[nodiscard]] bool prefilling() const { return prefilling_; }

  // [rows, capacity, kv_heads, head_dim]
  [[nodiscard]] at::Tensor keys(int64_t layer) const;
  [[nodiscard]] at::Tensor values(int64_t layer) const;
  // [rows] int32 on the cache's device: tokens held, those of the running forward included.
  [[nodiscard]] const at::Tensor& length_tensor() const { return length_tensor_; }
  [[nodiscard]] int32_t length(int64_t row) const { return lengths_[static_cast<size_t>(row)]; }

  // Row `row` leaves; the last row moves into its place.
  void remove_row(int64_t row);

  // For CUDA graphs. restart(): all rows leave; the next forward prefills `rows` of them, at most as many as the cache was made
  // for. follow_positions(): from then on forwards of one token for each of the first `rows` rows find its place in the batch's
  // positions, on the device; the host keeps no count, and the tensors that such a forward reads stay where they are.
  void restart(int64_t rows);
  void follow_positions(int64_t rows);
  void copy_row(int64_t from, int64_t to, int64_t tokens);
  [[nodiscard]] bool follows_positions() const { return follows_positions_; }
  [[nodiscard]] int64_t capacity() const { return capacity_; }
  [[nodiscard]] int64_t bytes() const;
  // Tensors that a recorded forward reads and that nobody else may keep.
  void hold(const at::Tensor& one, const at::Tensor& other);

 private:
  int64_t rows_;
  int64_t capacity_;
  bool prefilling_ = true;
  bool follows_positions_ = false;
  at::Tensor row_starts_;                  // [rows] int64 on the device: row * capacity
  std::vector<at::Tensor> held_;           // by hold()
  std::vector<int32_t> lengths_;           // [rows]
  at::Tensor length_tensor_;               // [rows] int32
  at::Tensor slots_;                       // [tokens] int64: row * capacity + position of each token of the running batch
  std::vector<at::Tensor> keys_, values_;  // per layer [rows, capacity, kv_heads, head_dim]
};

}  // namespace prudent::models
