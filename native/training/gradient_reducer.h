// Sums gradients over the ranks, bucket by bucket, while the backward still makes the next ones.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "training/gradient_hooks.h"
#include "training/rank_share.h"

namespace prudent::training {

class GradientReducer {
 public:
  // This rank's gradient of parameter `index`, given away; undefined when it has none.
  using Take = std::function<at::Tensor(size_t index)>;
  // The sum over ranks, fp32 on the CPU in the parameter's shape. Not called for parameters that no rank has a gradient of.
  using Give = std::function<void(size_t index, at::Tensor gradient)>;

  // Of a bucket, in fp32. Small buckets leave early and large ones have fewer round trips: 25 MiB is what PyTorch's DDP found
  // good.
  static constexpr int64_t kBucketBytes = int64_t{25} << 20;

  // Buckets hold parameters from the last to the first, as a backward finishes them; the same on all ranks. One that is larger
  // than a bucket has one of its own.
  GradientReducer(Group group, std::vector<at::Tensor> parameters, Take take, int64_t bucket_bytes = kBucketBytes);

  [[nodiscard]] size_t buckets() const { return buckets_.size(); }
  // From here on, buckets go out as soon as a backward has finished them. Call before the last backward of a step.
  void start();
  // Sends what has not gone out yet, waits for all.
  void finish(const Give& give);

 private:
  struct Flight {
    at::Tensor flat;
    std::unique_ptr<distributed::PendingCollective> pending;
  };
  void mark_ready(size_t index);
  void send_next();

  Group group_;
  std::vector<at::Tensor> parameters_;
  Take take_;
  std::vector<std::vector<size_t>> buckets_;
  std::vector<size_t> bucket_of_;  // [parameters]
  std::vector<size_t> missing_;    // [buckets] parameters that the backward has not finished
  std::vector<uint8_t> has_;       // [parameters] this rank has a gradient
  std::vector<Flight> flights_;    // [buckets sent], in order: ranks send them in the same one
  std::optional<GradientHooks> hooks_;
};

}  // namespace prudent::training
