// Token sequences of different lengths laid end to end: what every forward takes. No padding exists past this point, and a
// prefix that several rows share stands there once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace prudent::models {

class KvCache;

struct PackedBatch {
  at::Tensor ids;         // [tokens] int64, on the model's device
  at::Tensor positions;   // [tokens] int64, from 0 in each row
  at::Tensor cu_seqlens;  // [segments + 1] int32, on the CPU
  at::Tensor parents;     // [segments] int32, on the CPU: the segment that each continues, or -1; undefined: nothing is shared
  std::vector<int32_t> lengths;  // [segments]; where nothing is shared a segment is a row
  std::vector<int64_t> ends;     // [rows] each row's last token, ascending
  // Keys and values of segment 0, which an earlier forward has computed: its tokens are in cu_seqlens, but not among `tokens`.
  std::shared_ptr<const KvCache> kept;

  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(ends.size()); }
  [[nodiscard]] int64_t tokens() const;
  // Tokens of segment 0 where it is kept, else 0.
  [[nodiscard]] int32_t kept_tokens() const { return kept == nullptr ? 0 : lengths.front(); }
  // [rows] int64 on the CPU: index of each row's last token.
  [[nodiscard]] at::Tensor last_index() const;
  // Where each token of a row stands, from its first to its last; what rows share is named by each of them, what is kept by none.
  [[nodiscard]] std::vector<int64_t> tokens_of(int64_t row) const;
};

// ids: sum(lengths) token ids, each in [0, vocab_size); every length >= 1 and <= max_positions (E_TOO_LONG, E_SHAPE, E_RANGE,
// naming the row).
PackedBatch pack(const int32_t* ids, int64_t id_count, const int32_t* lengths, int64_t rows, int64_t vocab_size,
                 int64_t max_positions, const at::Device& device);

// Tokens of one row.
struct RowView {
  const int32_t* ids;
  int32_t length;
};

// Rows whose ids and lengths have been checked, in the given order. shared[r]: how many first tokens row r has in common with row
// r - 1, less than the length of either (a row keeps a token of its own to be read at); shared[0] = 0. What neighbours share is
// computed once, by however many of them: a tree of prefixes.
PackedBatch pack_shared(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, const at::Device& device);

// What an earlier forward has computed of the first `rows` rows of a batch: a prefix of `length` tokens, one row of a cache.
struct KeptRows {
  std::shared_ptr<const KvCache> cache;
  int32_t length = 0;
  int64_t rows = 0;
};

// The same, where the first kept.rows rows begin with kept.length tokens (fewer than any of them has) that are not computed
// again; shared[r] of those rows is kept.length or more, and 0 of the row after them.
PackedBatch pack_shared(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, const KeptRows& kept,
                        const at::Device& device);

}  // namespace prudent::models
