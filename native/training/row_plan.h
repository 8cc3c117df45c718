// The order in which rows go through the model when only their last tokens are read: rows that begin alike stand together, so
// that what they share (a prompt, the constant beginning of a chat template) is computed once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "models/packed_batch.h"
#include "training/token_rows.h"

namespace prudent::training {

// How many first tokens both rows have in common, but fewer than either has: each keeps one of its own.
int32_t common_prefix(const models::RowView& a, const models::RowView& b);

class RowPlan {
 public:
  // Checked rows, which must outlive the plan. Micro-batches of at most batch_tokens computed tokens (a dearer row is alone).
  // Without `share`: the given order, every row by itself. No result depends on the plan beyond rounding.
  RowPlan(const TokenRows& rows, int64_t batch_tokens, bool share);
  // The same, where rows that begin with `prefix` stand first and continue it: its keys and values are kept (Model::kept_prefix).
  RowPlan(const TokenRows& rows, int64_t batch_tokens, const std::vector<int32_t>& prefix);
  // The same of rows whose first most_shared[row] tokens alone may be shared; `argument` names the budget in an error.
  RowPlan(const std::vector<models::RowView>& rows, const std::vector<int32_t>& most_shared, int64_t batch_tokens, bool share,
          const std::string& argument);

  [[nodiscard]] const std::vector<std::pair<int64_t, int64_t>>& batches() const { return batches_; }
  // Places first .. last - 1 of the plan. `kept`: the prefix, where a row continues one.
  [[nodiscard]] models::PackedBatch pack(std::pair<int64_t, int64_t> batch, const at::Device& device,
                                         const std::shared_ptr<const models::KvCache>& kept = nullptr) const;
  // Whether any row continues the prefix.
  [[nodiscard]] bool continues_prefix() const { return continuing_ > 0; }
  // [rows] which row stands at each place.
  [[nodiscard]] const std::vector<int64_t>& order() const { return order_; }
  // [rows] by place: tokens in common with the place before, where both are in one micro-batch, or with the kept prefix.
  [[nodiscard]] const std::vector<int32_t>& shared() const { return shared_; }
  // [rows, ...] by place -> by row.
  [[nodiscard]] at::Tensor in_row_order(const at::Tensor& by_place) const;
  // Tokens that the forwards compute, of all those given.
  [[nodiscard]] int64_t computed_tokens() const { return computed_tokens_; }

 private:
  RowPlan(const std::vector<models::RowView>& rows, const std::vector<int32_t>& most_shared, int64_t batch_tokens, bool share,
          const std::string& argument, const std::vector<int32_t>& prefix);
  void order_rows(const std::vector<models::RowView>& rows, const std::vector<int32_t>& prefix);
  void cut(int64_t batch_tokens);
  // Tokens of the prefix that this place continues, 0 of a row that does not begin with it.
  [[nodiscard]] int32_t kept_tokens(size_t place) const { return static_cast<int64_t>(place) < continuing_ ? prefix_length_ : 0; }

  std::vector<int64_t> order_;
  std::vector<models::RowView> rows_;  // [rows] by place
  std::vector<int32_t> shared_;
  int32_t prefix_length_ = 0;
  int64_t continuing_ = 0;  // the first places are the rows that begin with the prefix
  std::vector<std::pair<int64_t, int64_t>> batches_;
  int64_t computed_tokens_ = 0;
};

}  // namespace prudent::training
