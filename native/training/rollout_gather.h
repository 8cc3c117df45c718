// A rollout whose rows were sampled and evaluated on several ranks.
#pragma once

#include <memory>

#include "training/rank_share.h"
#include "training/rollout.h"

namespace prudent::training {

// As make_rollout, each rank with its share of the prompts; every rank gets the rollout of all. A row's random numbers come from
// its key alone, so the responses are those of a single process. Nothing is held for the first update.
std::shared_ptr<const Rollout> make_shared_rollout(const models::Model& policy, const models::Model& reference,
                                                   const TokenRows& prompts, const RolloutOptions& options, const Group& group,
                                                   const Job& job);

}  // namespace prudent::training
