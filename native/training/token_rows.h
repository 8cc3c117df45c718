// Rows of token ids as they come over the boundary, and their division into micro-batches by a token budget.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "models/packed_batch.h"

namespace prudent::training {

// Rows laid end to end: ids.size() == sum(lengths), every length >= 1.
struct TokenRows {
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;

  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  [[nodiscard]] int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  // [rows + 1]: offsets()[r] is where row r begins in ids.
  [[nodiscard]] std::vector<int64_t> offsets() const;
  // Each row's tokens; valid as long as `ids` is.
  [[nodiscard]] std::vector<models::RowView> views() const;
  // The rows named by `index`, in that order.
  [[nodiscard]] TokenRows select(const std::vector<int64_t>& index) const;
};

// E_SHAPE unless lengths are >= 1, add up to ids.size(), and there is at least one row; E_RANGE for an id outside
// [0, vocab_size); E_TOO_LONG for a row longer than max_positions. `argument` names the rows in the error.
void check_rows(const TokenRows& rows, const models::ModelConfig& config, const std::string& argument);

// Row r of the result is prompt r followed by response r; the counts must agree (E_SHAPE).
TokenRows concatenate_rows(const TokenRows& prompts, const TokenRows& responses);

// [first, last) ranges of consecutive rows whose costs add up to at most `budget` (a row dearer than the budget is alone).
// budget >= 1 (E_RANGE naming `argument`).
std::vector<std::pair<int64_t, int64_t>> micro_batches(const std::vector<int32_t>& costs, int64_t budget,
                                                       const std::string& argument);

// Rows first .. last - 1 packed for a forward of `model`.
models::PackedBatch pack_rows(const models::Model& model, const TokenRows& rows, int64_t first, int64_t last);

}  // namespace prudent::training
