// Generation with a KV cache: rows of different prompt lengths, each stops at its own EOS, finished rows leave the batch.
#pragma once

#include <cstdint>
#include <vector>

#include "core/job.h"
#include "kernels/sample/sample.h"
#include "models/model.h"

namespace prudent::models {

struct GenerateOptions {
  int64_t max_new_tokens = 16;
  std::vector<int64_t> eos_token_ids;  // empty: never stops early
  kernels::SampleOptions sampling;
  int64_t min_new_tokens = 0;
  // Also note, for each drawn token, its log-probability (at temperature 1, unfiltered) and the value head's output at the state
  // that it was drawn from. E_NO_HEAD without a value head; E_RANGE with min_new_tokens, which withholds EOS.
  bool record = false;
};

struct Generated {
  std::vector<int32_t> ids;      // response ids of all rows end to end, EOS kept when it was drawn
  std::vector<int32_t> lengths;  // [rows], each >= 1
  std::vector<float> logprobs;   // as the ids, when recorded
  std::vector<float> values;     // as the ids, when recorded
};

// row_keys [rows]: identifies a row's random numbers, so that its sample does not depend on the batch it sits in.
Generated generate(const Model& model, const PackedBatch& prompts, const std::vector<int64_t>& row_keys,
                   const GenerateOptions& options, const Job& job);

}  // namespace prudent::models
