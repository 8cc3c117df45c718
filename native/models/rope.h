// Tables of cosines and sines for the rotary position embedding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <utility>

#include "models/config.h"

namespace prudent::models {

// [head_dim / 2] fp32, in transformers' order of operations, so that the angles are the same to the bit.
at::Tensor rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim);

// Grows with the positions that are asked for: a context of 131072 positions is not paid for by a batch of short rows.
class RopeTable {
 public:
  RopeTable(const RopeConfig& rope, int64_t head_dim, const at::Device& device);
  // cos and sin [at least `positions`, head_dim / 2] fp32. Thread-safe.
  std::pair<at::Tensor, at::Tensor> tables(int64_t positions) const;

 private:
  at::Tensor inverse_frequencies_;
  at::Device device_;
  mutable std::mutex mutex_;
  mutable std::pair<at::Tensor, at::Tensor> tables_;
};

}  // namespace prudent::models
