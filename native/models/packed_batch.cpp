#include "models/packed_batch.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/transfer.h"

namespace prudent::models {
namespace {

// A row, or what several rows share, or what a row has after what it shares.
struct Segment {
  const int32_t* ids;
  int32_t length;
  int32_t parent;  // -1: none
  bool ends_row;
};

// `kept`: of segment 0 nothing but its length is wanted.
PackedBatch lay_out(const std::vector<Segment>& segments, std::shared_ptr<const KvCache> kept, const at::Device& device) {
  const auto count = static_cast<int64_t>(segments.size());
  PackedBatch batch;
  batch.kept = std::move(kept);
  batch.cu_seqlens = at::empty({count + 1}, at::kInt);
  auto* starts = batch.cu_seqlens.mutable_data_ptr<int32_t>();
  starts[0] = 0;
  bool shares = false;
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) {
    const Segment& segment = segments[static_cast<size_t>(s)];
    total += segment.length;
    PRUDENT_CHECK(total <= INT32_MAX, "E_RANGE", "lengths", "fewer than 2^31 tokens in a batch", std::to_string(total));
    starts[s + 1] = static_cast<int32_t>(total);
    batch.lengths.push_back(segment.length);
    if (segment.ends_row) batch.ends.push_back(total - batch.kept_tokens() - 1);
    shares = shares || segment.parent >= 0;
  }
  batch.ids = at::empty({total}, at::kLong);
  batch.positions = at::empty({total}, at::kLong);
  auto* id_out = batch.ids.mutable_data_ptr<int64_t>();
  auto* position_out = batch.positions.mutable_data_ptr<int64_t>();
  if (shares) batch.parents = at::empty({count}, at::kInt);
  for (int64_t s = 0; s < count; ++s) {
    const Segment& segment = segments[static_cast<size_t>(s)];
    const int64_t first = segment.parent < 0 ? 0 : position_out[starts[segment.parent + 1] - 1] + 1;
    for (int64_t t = 0; t < segment.length; ++t) {
      id_out[starts[s] + t] = segment.ids[t];
      position_out[starts[s] + t] = first + t;
    }
    if (shares) batch.parents.mutable_data_ptr<int32_t>()[s] = segment.parent;
  }
  const int64_t known = batch.kept_tokens();
  batch.ids = to_device(batch.ids.narrow(0, known, total - known), device);
  batch.positions = to_device(batch.positions.narrow(0, known, total - known), device);
  return batch;
}

// Rows first .. last - 1 all begin with the same `depth` tokens, which the chain up to `parent` holds. Segments come out in the
// order in which attention wants them: a tree in one stretch, its root first.
void add_tree(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, size_t first, size_t last, int32_t depth,
              int32_t parent, std::vector<Segment>& segments) {
  if (last - first == 1) {
    segments.push_back({rows[first].ids + depth, rows[first].length - depth, parent, true});
    return;
  }
  const auto begin = shared.begin();
  const int32_t common = *std::min_element(begin + static_cast<int64_t>(first) + 1, begin + static_cast<int64_t>(last));
  if (common > depth) {
    segments.push_back({rows[first].ids + depth, common - depth, parent, false});
    parent = static_cast<int32_t>(segments.size()) - 1;
    depth = common;
  }
  size_t start = first;
  for (size_t next = first + 1; next <= last; ++next) {
    if (next < last && shared[next] != common) continue;
    add_tree(rows, shared, start, next, depth, parent, segments);
    start = next;
  }
}

void check_kept(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, const KeptRows& kept) {
  PRUDENT_CHECK(kept.rows >= 0 && kept.rows <= static_cast<int64_t>(rows.size()), "E_RANGE", "kept.rows",
                "at most " + std::to_string(rows.size()), std::to_string(kept.rows));
  if (kept.rows == 0) return;
  PRUDENT_CHECK(kept.cache != nullptr && kept.length >= 1, "E_SHAPE", "kept", "keys and values of a token or more", "none");
  const auto continuing = static_cast<size_t>(kept.rows);
  for (size_t row = 0; row < continuing; ++row) {
    PRUDENT_CHECK(rows[row].length > kept.length && (row == 0 || shared[row] >= kept.length), "E_RANGE",
                  "shared[" + std::to_string(row) + "]", "the " + std::to_string(kept.length) + " kept tokens and one of its own",
                  std::to_string(shared[row]) + " of " + std::to_string(rows[row].length));
  }
  PRUDENT_CHECK(continuing == rows.size() || shared[continuing] == 0, "E_RANGE", "shared[" + std::to_string(continuing) + "]",
                "0 after the rows that continue what is kept", std::to_string(shared[continuing]));
}

}  // namespace

int64_t PackedBatch::tokens() const { return ids.size(0); }

at::Tensor PackedBatch::last_index() const {
  at::Tensor index = at::empty({rows()}, at::kLong);
  std::copy(ends.begin(), ends.end(), index.mutable_data_ptr<int64_t>());
  return index;
}

std::vector<int64_t> PackedBatch::tokens_of(int64_t row) const {
  const auto* starts = cu_seqlens.const_data_ptr<int32_t>();
  const int64_t known = kept_tokens(), end = ends[static_cast<size_t>(row)] + known;
  std::vector<int64_t> backwards;
  for (int64_t s = std::upper_bound(starts, starts + cu_seqlens.size(0), end) - starts - 1; s >= 0;
       s = parents.defined() ? parents.const_data_ptr<int32_t>()[s] : -1) {
    for (int64_t token = starts[s + 1] - 1; token >= std::max<int64_t>(starts[s], known); --token) {
      backwards.push_back(token - known);
    }
  }
  return {backwards.rbegin(), backwards.rend()};
}

PackedBatch pack(const int32_t* ids, int64_t id_count, const int32_t* lengths, int64_t rows, int64_t vocab_size,
                 int64_t max_positions, const at::Device& device) {
  PRUDENT_CHECK(rows >= 1, "E_SHAPE", "lengths", "at least one row", "none");
  int64_t total = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t length = lengths[row];
    PRUDENT_CHECK(length >= 1, "E_SHAPE", "lengths[" + std::to_string(row) + "]", "at least 1 token", std::to_string(length));
    PRUDENT_CHECK(length <= max_positions, "E_TOO_LONG", "lengths[" + std::to_string(row) + "]",
                  "at most " + std::to_string(max_positions) + " tokens", std::to_string(length));
    total += length;
  }
  PRUDENT_CHECK(total == id_count, "E_SHAPE", "ids", "sum(lengths) = " + std::to_string(total) + " token ids",
                std::to_string(id_count));
  std::vector<Segment> segments;
  for (int64_t row = 0, at = 0; row < rows; at += lengths[row], ++row) {
    for (int64_t i = at; i < at + lengths[row]; ++i) {
      PRUDENT_CHECK(ids[i] >= 0 && ids[i] < vocab_size, "E_RANGE", "ids[" + std::to_string(i) + "]",
                    "a token id in [0, " + std::to_string(vocab_size) + "), in row " + std::to_string(row),
                    std::to_string(ids[i]));
    }
    segments.push_back({ids + at, lengths[row], -1, true});
  }
  return lay_out(segments, nullptr, device);
}

PackedBatch pack_shared(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, const at::Device& device) {
  return pack_shared(rows, shared, KeptRows{}, device);
}

PackedBatch pack_shared(const std::vector<RowView>& rows, const std::vector<int32_t>& shared, const KeptRows& kept,
                        const at::Device& device) {
  PRUDENT_CHECK(!rows.empty() && shared.size() == rows.size(), "E_SHAPE", "shared", std::to_string(rows.size()) + " counts",
                std::to_string(shared.size()));
  for (size_t row = 1; row < rows.size(); ++row) {
    PRUDENT_CHECK(shared[row] >= 0 && shared[row] < std::min(rows[row - 1].length, rows[row].length), "E_RANGE",
                  "shared[" + std::to_string(row) + "]", "a count below the length of both rows", std::to_string(shared[row]));
  }
  check_kept(rows, shared, kept);
  const auto continuing = static_cast<size_t>(kept.rows);
  std::vector<Segment> segments;
  if (continuing > 0) {
    segments.push_back({rows.front().ids, kept.length, -1, false});
    add_tree(rows, shared, 0, continuing, kept.length, 0, segments);
  }
  if (continuing < rows.size()) add_tree(rows, shared, continuing, rows.size(), 0, -1, segments);
  return lay_out(segments, continuing > 0 ? kept.cache : nullptr, device);
}

}  // namespace prudent::models
