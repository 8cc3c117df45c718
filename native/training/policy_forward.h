// What a policy says of the predicted tokens of a batch, and a forward that is kept for the first update to go on from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/model.h"
#include "training/prediction_batch.h"

namespace prudent::training {

struct PolicyForward {
  at::Tensor hidden;    // [predicted, hidden]
  at::Tensor logprobs;  // [predicted] fp32
  at::Tensor values;    // [predicted] fp32
  at::Tensor entropy;   // [predicted] fp32, undefined unless asked for; not differentiable
};

// In the autograd graph when grad mode is on. checkpoint: activation checkpointing.
PolicyForward policy_forward(const models::Model& policy, const PredictionBatch& batch, bool want_entropy,
                             const models::Checkpointing& checkpoint = {});

// A forward with its graph, made while the rollout was evaluated. When all rows are one mini-batch, the first update of the step
// needs exactly this forward: same weights, same tokens. It is as large as the activations of that one batch.
class HeldForward {
 public:
  // Runs the forward with gradients on, whatever the grad mode is. rows: those of the batch, in its order.
  HeldForward(const models::Model& policy, const PredictionBatch& batch, std::vector<int64_t> rows,
              const models::Checkpointing& checkpoint);

  [[nodiscard]] const PolicyForward& forward() const { return forward_; }
  // Gives the forward away, once; nothing when it is gone already, or made with another policy or of other rows, or when the
  // policy's weights have been written to since (it is of no use then and is dropped).
  std::optional<PolicyForward> take(const models::Model& policy, const std::vector<int64_t>& rows);

 private:
  const models::Model* policy_;  // only to compare with
  std::vector<int64_t> rows_;
  std::vector<uint32_t> versions_;  // of the parameters: every write in place counts one up
  PolicyForward forward_;
};

}  // namespace prudent::training
