// What generation loops share: the rows that still generate and what they have said.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/generation.h"

namespace prudent::models {

struct Response {
  std::vector<int32_t> ids;
  std::vector<float> logprobs, values;  // when recorded
};

// The rows that still generate, in the order of the cache.
struct LiveRows {
  std::vector<int64_t> rows;        // which row of the request sits in each slot
  std::vector<Response> responses;  // by row of the request

  explicit LiveRows(int64_t count) : responses(static_cast<size_t>(count)) {
    for (int64_t row = 0; row < count; ++row) rows.push_back(row);
  }
  [[nodiscard]] Response& response(size_t slot) { return responses[static_cast<size_t>(rows[slot])]; }
};

inline bool is_end(const GenerateOptions& options, int64_t id) {
  return std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), id) != options.eos_token_ids.end();
}

inline Generated collect(const std::vector<Response>& responses) {
  Generated result;
  for (const Response& response : responses) {
    result.ids.insert(result.ids.end(), response.ids.begin(), response.ids.end());
    result.logprobs.insert(result.logprobs.end(), response.logprobs.begin(), response.logprobs.end());
    result.values.insert(result.values.end(), response.values.begin(), response.values.end());
    result.lengths.push_back(static_cast<int32_t>(response.ids.size()));
  }
  return result;
}

}  // namespace prudent::models
