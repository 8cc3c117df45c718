// Last-token features of a frozen base: computed once, then any number of heads, seeds and epochs train and score from them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/job.h"
#include "models/model.h"
#include "training/rank_share.h"
#include "training/token_rows.h"

namespace prudent::training {

class FeatureCache {
 public:
  // Hidden state at the last token of every row, in micro-batches of at most batch_tokens tokens; share_prefixes and layers as in
  // inference.h. With a group each rank computes a part and holds all.
  static std::shared_ptr<FeatureCache> compute(const models::Model& model, const TokenRows& rows, int64_t batch_tokens,
                                               const Job& job, bool share_prefixes = true,
                                               const std::vector<int64_t>& layers = {}, const Group& group = nullptr);
  // features [rows, hidden] fp32 on the CPU.
  explicit FeatureCache(at::Tensor features);
  // A safetensors file with one tensor, `features` [rows, hidden] F32.
  static std::shared_ptr<FeatureCache> load(const std::string& file);
  void save(const std::string& file) const;

  [[nodiscard]] int64_t rows() const;
  [[nodiscard]] int64_t hidden() const;
  // [rows, hidden] fp32, contiguous, on the CPU.
  [[nodiscard]] const at::Tensor& features() const { return features_; }
  // Columns first … first + count - 1, a copy: one layer's features of several.
  [[nodiscard]] std::shared_ptr<FeatureCache> columns(int64_t first, int64_t count) const;
  // weight [heads, hidden] fp32 -> [rows, heads] fp32.
  [[nodiscard]] at::Tensor score(const at::Tensor& weight) const;

 private:
  at::Tensor features_;
};

}  // namespace prudent::training
