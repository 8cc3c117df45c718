// The options that generate() and rollout() share.
#pragma once

#include "binding/arguments.h"
#include "training/rollout.h"

namespace prudent::binding {

int64_t read_batch_tokens(Options& options);
// Everything of GenerateOptions; exact_kl is left as it is. rowKeys must have `rows` entries.
training::RolloutOptions read_generate_options(Options& options, int64_t rows);

}  // namespace prudent::binding
