#include "training/gradient_reducer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace prudent::training {

GradientReducer::GradientReducer(Group group, std::vector<at::Tensor> parameters, Take take, int64_t bucket_bytes)
    : group_(std::move(group)),
      parameters_(std::move(parameters)),
      take_(std::move(take)),
      bucket_of_(parameters_.size()),
      has_(parameters_.size(), 0) {
  const int64_t limit = bucket_bytes / static_cast<int64_t>(sizeof(float));
  int64_t items = 0;
  for (size_t index = parameters_.size(); index-- > 0;) {
    if (buckets_.empty() || items + parameters_[index].numel() > limit) {
      buckets_.emplace_back();
      items = 0;
    }
    items += parameters_[index].numel();
    bucket_of_[index] = buckets_.size() - 1;
    buckets_.back().push_back(index);
  }
  for (const auto& bucket : buckets_) missing_.push_back(bucket.size());
}

void GradientReducer::start() {
  hooks_.emplace(parameters_, [this](size_t index) { mark_ready(index); });
}

void GradientReducer::mark_ready(size_t index) {
  --missing_[bucket_of_[index]];
  while (flights_.size() < buckets_.size() && missing_[flights_.size()] == 0) send_next();
}

void GradientReducer::send_next() {
  const std::vector<size_t>& bucket = buckets_[flights_.size()];
  int64_t items = 0;
  for (const size_t index : bucket) items += parameters_[index].numel();
  at::Tensor flat = at::zeros({items}, at::kFloat);
  int64_t first = 0;
  for (const size_t index : bucket) {
    const int64_t count = parameters_[index].numel();
    const at::Tensor own = take_(index);
    has_[index] = own.defined() ? 1 : 0;
    if (own.defined()) flat.narrow(0, first, count).copy_(own.reshape({-1}));
    first += count;
  }
  auto pending = group_->start_sum(flat);
  flights_.push_back({std::move(flat), std::move(pending)});
}

void GradientReducer::finish(const Give& give) {
  const c10::NoGradGuard no_grad;
  hooks_.reset();
  while (flights_.size() < buckets_.size()) send_next();
  // A parameter that takes part on no rank is left alone, as it is by a single process: not even its weight decays.
  std::vector<double> has(has_.begin(), has_.end());
  sum_over_ranks(has, group_);
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    flights_[bucket].pending->wait();
    int64_t first = 0;
    for (const size_t index : buckets_[bucket]) {
      const int64_t count = parameters_[index].numel();
      if (has[index] > 0) give(index, flights_[bucket].flat.narrow(0, first, count).view(parameters_[index].sizes()));
      first += count;
    }
  }
}

}  // namespace prudent::training
