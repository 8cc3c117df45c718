// An AttentionLayout as kernels for rows of different lengths know it (varlen): rows of consecutive queries, each with keys of
// its own that end at its last query, so that query i of n sees all but the last n - 1 - i of them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/packed_attention/packed_attention.h"

namespace prudent::kernels {

struct AttentionRows {
  // A checked layout. Rows without a query are left out.
  explicit AttentionRows(const AttentionLayout& layout);

  std::vector<int32_t> query_bounds = {0}, key_bounds = {0};  // [rows + 1]
  std::vector<int64_t> keys;                                  // token numbers of the rows' keys, end to end
  int64_t longest_queries = 0, longest_keys = 0;
  // Are the keys all tokens in their order?
  [[nodiscard]] bool keys_as_they_are() const { return as_they_are_; }

 private:
  void add_row(const std::vector<int64_t>& inherited, int64_t segment_start, int64_t first, int64_t last);
  bool as_they_are_ = true;
};

}  // namespace prudent::kernels
