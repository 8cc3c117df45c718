// Which rows of a step each rank works on, and what makes ranks agree.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "distributed/process_group.h"
#include "models/model.h"

namespace prudent::training {

using Group = std::shared_ptr<distributed::ProcessGroup>;  // null: this process is alone

// The rows of this rank, ascending; all of them when it is alone. Every rank knows all rows and their costs (tokens) and finds
// the same division: dearest row first, each to the rank that has least. A rank may get none.
std::vector<int64_t> share_of(const std::vector<int32_t>& costs, const Group& group);

// Sums of doubles over ranks, in place; a no-op alone.
void sum_over_ranks(std::vector<double>& values, const Group& group);
void sum_over_ranks(double& value, const Group& group);

// E_STATE on all ranks when one of them began with other weights: every rank makes the same updates and never looks again.
void check_same_weights(const models::NamedTensors& parameters, const Group& group);

}  // namespace prudent::training
