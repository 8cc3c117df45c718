// Token sequences of different lengths laid end to end: what every forward takes. No padding exists past this point.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace prudent::models {

struct PackedBatch {
  at::Tensor ids;                // [tokens] int64, on the model's device
  at::Tensor positions;          // [tokens] int64, from 0 in each row
  at::Tensor cu_seqlens;         // [rows + 1] int32, on the CPU
  std::vector<int32_t> lengths;  // [rows]

  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  [[nodiscard]] int64_t tokens() const;
  // [rows] int64: index of each row's last token.
  [[nodiscard]] at::Tensor last_index() const;
};

// ids: sum(lengths) token ids, each in [0, vocab_size); every length >= 1 and <= max_positions (E_TOO_LONG, E_SHAPE, E_RANGE,
// naming the row).
PackedBatch pack(const int32_t* ids, int64_t id_count, const int32_t* lengths, int64_t rows, int64_t vocab_size,
                 int64_t max_positions, const at::Device& device);

}  // namespace prudent::models
