#include "training/rollout_gather.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>

#include "core/transfer.h"
#include "training/prediction_batch.h"

namespace prudent::training {
namespace {

// What ranks hold, in the order of the ranks, and how to get from there to the order of the rows.
class GatheredRows {
 public:
  GatheredRows(const std::vector<int64_t>& index, const std::vector<int32_t>& lengths, const Group& group) : group_(group) {
    const at::Tensor rows = group->gather_rows(at::tensor(index, at::kLong));
    const at::Tensor counts = group->gather_rows(at::tensor(std::vector<int64_t>(lengths.begin(), lengths.end()), at::kLong));
    const int64_t* row = rows.const_data_ptr<int64_t>();
    const int64_t* count = counts.const_data_ptr<int64_t>();
    std::vector<int64_t> place(static_cast<size_t>(rows.numel())), first(place.size());
    int64_t token = 0;
    for (size_t i = 0; i < place.size(); ++i) {
      place[static_cast<size_t>(row[i])] = static_cast<int64_t>(i);
      first[i] = token;
      token += count[i];
    }
    std::vector<int64_t> tokens;
    for (const int64_t at_place : place) {
      lengths_.push_back(static_cast<int32_t>(count[at_place]));
      for (int64_t k = 0; k < count[at_place]; ++k) tokens.push_back(first[static_cast<size_t>(at_place)] + k);
    }
    tokens_ = at::tensor(tokens, at::kLong);
  }

  [[nodiscard]] const std::vector<int32_t>& lengths() const { return lengths_; }  // [rows] by row
  // [own tokens] -> [all tokens], rows in order.
  [[nodiscard]] at::Tensor by_row(const at::Tensor& own) const {
    return at::index_select(group_->gather_rows(own.cpu().contiguous()), 0, tokens_);
  }

 private:
  Group group_;
  std::vector<int32_t> lengths_;
  at::Tensor tokens_;  // [tokens] by row -> place among those gathered
};

std::vector<int32_t> to_ids(const at::Tensor& values) {
  const int64_t* data = values.const_data_ptr<int64_t>();
  return {data, data + values.numel()};
}

double longest(double seconds, const Group& group) {
  const at::Tensor all = group->gather_rows(at::tensor(std::vector<double>{seconds}, at::kDouble));
  const double* data = all.const_data_ptr<double>();
  return *std::max_element(data, data + all.numel());
}

// `own` holds the rows `index`; null on a rank without rows. The times are the longest of any rank.
std::shared_ptr<const Rollout> gather_rollout(const TokenRows& prompts, const std::vector<int64_t>& index,
                                              const std::shared_ptr<const Rollout>& own, const RolloutOptions& options,
                                              const at::Device& device, const Group& group) {
  const Rollout nothing;
  const Rollout& mine = own ? *own : nothing;
  const GatheredRows gathered(index, mine.responses.lengths, group);
  const auto all = [&](const at::Tensor& values) {
    return to_device(gathered.by_row(values.defined() ? values : at::empty({0}, at::kFloat)), device);
  };
  auto result = std::make_shared<Rollout>();
  result->prompts = prompts;
  const std::vector<int64_t> ids(mine.responses.ids.begin(), mine.responses.ids.end());
  result->responses = {to_ids(gathered.by_row(at::tensor(ids, at::kLong))), gathered.lengths()};
  result->logprobs = all(mine.logprobs);
  result->values = all(mine.values);
  result->ref_logprobs = all(mine.ref_logprobs);
  result->kl_sums = row_sums(result->logprobs - result->ref_logprobs, gathered.lengths());
  if (options.exact_kl) {
    result->kl_per_token = all(mine.kl_per_token);
    result->exact_kl_sums = row_sums(result->kl_per_token, gathered.lengths());
  }
  result->generate_seconds = longest(mine.generate_seconds, group);
  result->forward_seconds = longest(mine.forward_seconds, group);
  return result;
}

}  // namespace

std::shared_ptr<const Rollout> make_shared_rollout(const models::Model& policy, const models::Model& reference,
                                                   const TokenRows& prompts, const RolloutOptions& options, const Group& group,
                                                   const Job& job) {
  check_rows(prompts, policy.config(), "prompts");
  const std::vector<int64_t> index = share_of(prompts.lengths, group);
  RolloutOptions own = options;
  own.hold_tokens = 0;
  own.row_keys.clear();
  for (const int64_t row : index) own.row_keys.push_back(options.row_keys.empty() ? row : options.row_keys[row]);
  const auto rollout = index.empty() ? nullptr : make_rollout(policy, reference, prompts.select(index), own, job);
  return gather_rollout(prompts, index, rollout, options, policy.device(), group);
}

}  // namespace prudent::training
