// Generation on CUDA: the forward of one token a row is recorded once as a CUDA graph for each bucket of live rows and played
// back from then on. What changes from token to token (ids, positions, keys, the seed, a counter) lives in device memory; the
// host looks at the drawn ids every few tokens only. CUDA builds only.
#pragma once

#include <optional>

#include "models/generation.h"

namespace prudent::models {

// As generate(), arguments checked. Nothing when another call of the same model is generating just now, or when
// PRUDENT_CUDA_GRAPHS is 0: the plain loop does it then.
std::optional<Generated> generate_with_graphs(const Model& model, const PackedBatch& prompts,
                                              const std::vector<int64_t>& row_keys, const GenerateOptions& options,
                                              const Job& job);

// Rows of the recorded forward that n live rows use.
[[nodiscard]] inline int64_t row_bucket(int64_t rows) {
  int64_t bucket = 1;
  while (bucket < rows && bucket < 32) bucket *= 2;
  return rows <= bucket ? bucket : (rows + 31) / 32 * 32;
}

}  // namespace prudent::models
