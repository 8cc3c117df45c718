#include "models/packed_batch.h"

#include <ATen/ops/empty.h>

#include <string>

#include "core/error.h"
#include "core/transfer.h"

namespace prudent::models {

int64_t PackedBatch::tokens() const { return ids.size(0); }

at::Tensor PackedBatch::last_index() const {
  at::Tensor index = at::empty({rows()}, at::kLong);
  auto* out = index.mutable_data_ptr<int64_t>();
  const auto* starts = cu_seqlens.const_data_ptr<int32_t>();
  for (int64_t row = 0; row < rows(); ++row) out[row] = starts[row + 1] - 1;
  return to_device(index, ids.device());
}

PackedBatch pack(const int32_t* ids, int64_t id_count, const int32_t* lengths, int64_t rows, int64_t vocab_size,
                 int64_t max_positions, const at::Device& device) {
  PRUDENT_CHECK(rows >= 1, "E_SHAPE", "lengths", "at least one row", "none");
  PackedBatch batch;
  batch.lengths.assign(lengths, lengths + rows);
  batch.cu_seqlens = at::empty({rows + 1}, at::kInt);
  auto* starts = batch.cu_seqlens.mutable_data_ptr<int32_t>();
  starts[0] = 0;
  int64_t total = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = lengths[row];
    PRUDENT_CHECK(length >= 1, "E_SHAPE", "lengths[" + std::to_string(row) + "]", "at least 1 token", std::to_string(length));
    PRUDENT_CHECK(length <= max_positions, "E_TOO_LONG", "lengths[" + std::to_string(row) + "]",
                  "at most " + std::to_string(max_positions) + " tokens", std::to_string(length));
    total += length;
    PRUDENT_CHECK(total <= INT32_MAX, "E_RANGE", "lengths", "fewer than 2^31 tokens in a batch", std::to_string(total));
    starts[row + 1] = static_cast<int32_t>(total);
  }
  PRUDENT_CHECK(total == id_count, "E_SHAPE", "ids", "sum(lengths) = " + std::to_string(total) + " token ids",
                std::to_string(id_count));
  batch.ids = at::empty({total}, at::kLong);
  batch.positions = at::empty({total}, at::kLong);
  auto* id_out = batch.ids.mutable_data_ptr<int64_t>();
  auto* position_out = batch.positions.mutable_data_ptr<int64_t>();
  int64_t at = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t position = 0; position < lengths[row]; ++position, ++at) {
      PRUDENT_CHECK(ids[at] >= 0 && ids[at] < vocab_size, "E_RANGE", "ids[" + std::to_string(at) + "]",
                    "a token id in [0, " + std::to_string(vocab_size) + "), in row " + std::to_string(row),
                    std::to_string(ids[at]));
      id_out[at] = ids[at];
      position_out[at] = position;
    }
  }
  batch.ids = to_device(batch.ids, device);
  batch.positions = to_device(batch.positions, device);
  return batch;
}

}  // namespace prudent::models
