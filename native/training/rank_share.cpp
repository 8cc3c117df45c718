#include "training/rank_share.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <string>

#include "core/error.h"

namespace prudent::training {
namespace {

// Of the bits, in order.
uint64_t digest(const at::Tensor& tensor, uint64_t hash) {
  const at::Tensor data = tensor.detach().cpu().contiguous();
  const auto* bytes = static_cast<const unsigned char*>(data.const_data_ptr());
  const auto words = static_cast<int64_t>(data.nbytes() / 8);
  constexpr uint64_t kPrime = 0x100000001b3ull;
  for (int64_t i = 0; i < words; ++i) {
    uint64_t word;
    std::memcpy(&word, bytes + 8 * i, 8);
    hash = std::rotl((hash ^ word) * kPrime, 29);
  }
  for (size_t i = 8 * static_cast<size_t>(words); i < data.nbytes(); ++i) hash = (hash ^ bytes[i]) * kPrime;
  return hash;
}

}  // namespace

std::vector<int64_t> share_of(const std::vector<int32_t>& costs, const Group& group) {
  std::vector<int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  if (distributed::is_alone(group)) return order;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return costs[a] > costs[b]; });
  std::vector<int64_t> load(static_cast<size_t>(group->size()), 0);
  std::vector<int64_t> mine;
  for (const int64_t row : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += costs[row];
    if (least - load.begin() == group->rank()) mine.push_back(row);
  }
  std::sort(mine.begin(), mine.end());
  return mine;
}

void sum_over_ranks(std::vector<double>& values, const Group& group) {
  if (distributed::is_alone(group) || values.empty()) return;
  group->sum(at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kDouble));
}

void sum_over_ranks(double& value, const Group& group) {
  if (!distributed::is_alone(group)) group->sum(at::from_blob(&value, {1}, at::kDouble));
}

void check_same_weights(const models::NamedTensors& parameters, const Group& group) {
  if (distributed::is_alone(group)) return;
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const auto& [name, tensor] : parameters) hash = digest(tensor, hash);
  const at::Tensor own = at::empty({1}, at::kLong);
  std::memcpy(own.mutable_data_ptr(), &hash, 8);
  const at::Tensor all = group->gather_rows(own);
  const int64_t* digests = all.const_data_ptr<int64_t>();
  for (int rank = 1; rank < group->size(); ++rank) {
    PRUDENT_CHECK(digests[rank] == digests[0], "E_STATE", "weights", "the same on all ranks",
                  "others on rank " + std::to_string(rank) + " than on rank 0");
  }
}

}  // namespace prudent::training
