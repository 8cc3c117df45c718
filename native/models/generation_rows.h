// What generation loops share: the rows that still generate and what they have said.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/generation.h"

namespace prudent::models {

inline bool is_end(const GenerateOptions& options, int64_t id) {
  return std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), id) != options.eos_token_ids.end();
}

inline Generated join_responses(const std::vector<std::vector<int32_t>>& responses) {
  Generated result;
  for (const auto& response : responses) {
    result.ids.insert(result.ids.end(), response.begin(), response.end());
    result.lengths.push_back(static_cast<int32_t>(response.size()));
  }
  return result;
}

}  // namespace prudent::models
