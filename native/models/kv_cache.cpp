#include "models/kv_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/transfer.h"

namespace prudent::models {

KvCache::KvCache(const ModelConfig& config, int64_t rows, int64_t capacity, at::ScalarType dtype, const at::Device& device)
    : rows_(rows), capacity_(capacity) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    keys_.push_back(at::empty({rows, capacity, config.kv_heads, config.head_dim}, options));
    values_.push_back(at::empty({rows, capacity, config.kv_heads, config.head_dim}, options));
  }
}

void KvCache::begin(const PackedBatch& batch) {
  PRUDENT_CHECK(batch.rows() == rows_, "E_SHAPE", "batch", std::to_string(rows_) + " rows as in the cache",
                std::to_string(batch.rows()));
  PRUDENT_CHECK(!batch.parents.defined(), "E_SHAPE", "batch", "rows that share nothing", "shared prefixes");
  prefilling_ = !follows_positions_ && lengths_.empty();
  if (follows_positions_) {
    slots_ = row_starts_.narrow(0, 0, rows_) + batch.positions;
    length_tensor_ = (batch.positions + 1).to(at::kInt);
    return;
  }
  if (prefilling_) lengths_.assign(static_cast<size_t>(rows_), 0);
  at::Tensor slots = at::empty({batch.tokens()}, at::kLong);
  auto* slot = slots.mutable_data_ptr<int64_t>();
  length_tensor_ = at::empty({rows_}, at::kInt);
  auto* length_out = length_tensor_.mutable_data_ptr<int32_t>();
  for (int64_t row = 0; row < rows_; ++row) {
    int32_t& length = lengths_[static_cast<size_t>(row)];
    const int32_t added = batch.lengths[static_cast<size_t>(row)];
    PRUDENT_CHECK(prefilling_ || added == 1, "E_SHAPE", "batch", "one token a row once the cache is filled",
                  std::to_string(added));
    PRUDENT_CHECK(length + added <= capacity_, "E_TOO_LONG", "batch", "at most " + std::to_string(capacity_) + " tokens in a row",
                  std::to_string(length + added));
    for (int32_t i = 0; i < added; ++i) *slot++ = row * capacity_ + length + i;
    length += added;
    length_out[row] = length;
  }
  slots_ = to_device(slots, keys_.front().device());
  length_tensor_ = to_device(length_tensor_, keys_.front().device());
}

void KvCache::store(int64_t layer, const at::Tensor& k, const at::Tensor& v) {
  const auto put = [this](at::Tensor& cache, const at::Tensor& fresh) {
    cache.view({-1, cache.size(2), cache.size(3)}).index_copy_(0, slots_, fresh);
  };
  put(keys_[static_cast<size_t>(layer)], k);
  put(values_[static_cast<size_t>(layer)], v);
}

at::Tensor KvCache::keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)].narrow(0, 0, rows_); }
at::Tensor KvCache::values(int64_t layer) const { return values_[static_cast<size_t>(layer)].narrow(0, 0, rows_); }

void KvCache::remove_row(int64_t row) {
  const int64_t last = rows_ - 1;
  if (row != last) {
    copy_row(last, row, lengths_[static_cast<size_t>(last)]);
    lengths_[static_cast<size_t>(row)] = lengths_[static_cast<size_t>(last)];
  }
  lengths_.pop_back();
  rows_ = last;
}

void KvCache::copy_row(int64_t from, int64_t to, int64_t tokens) {
  for (auto* tensors : {&keys_, &values_}) {
    for (at::Tensor& tensor : *tensors) {
      tensor.select(0, to).narrow(0, 0, tokens).copy_(tensor.select(0, from).narrow(0, 0, tokens));
    }
  }
}

int64_t KvCache::bytes() const {
  int64_t bytes = 0;
  for (const auto* tensors : {&keys_, &values_}) {
    for (const at::Tensor& tensor : *tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

void KvCache::restart(int64_t rows) {
  rows_ = rows;
  lengths_.clear();
  follows_positions_ = false;
}

void KvCache::follow_positions(int64_t rows) {
  if (!row_starts_.defined()) {
    const at::Tensor& keys = keys_.front();
    row_starts_ = at::arange(keys.size(0), keys.options().dtype(at::kLong)).mul_(capacity_);
  }
  rows_ = rows;
  follows_positions_ = true;
}

void KvCache::hold(const at::Tensor& one, const at::Tensor& other) {
  if (!follows_positions_) return;
  for (const at::Tensor& tensor : {one, other}) {
    const bool known = std::any_of(held_.begin(), held_.end(), [&](const at::Tensor& held) { return held.is_same(tensor); });
    if (!known) held_.push_back(tensor);
  }
}

}  // namespace prudent::models
