#include "models/rope.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numbers>

namespace prudent::models {

at::Tensor rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat).div(static_cast<double>(head_dim));
  const at::Tensor frequencies = at::pow(rope.theta, exponents).reciprocal();
  if (rope.kind == RopeConfig::Kind::Linear) return frequencies.div(rope.factor);
  if (rope.kind == RopeConfig::Kind::Default) return frequencies;
  // Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended.
  const double longest = rope.original_max_positions / rope.low_freq_factor;
  const double shortest = rope.original_max_positions / rope.high_freq_factor;
  const at::Tensor wave = frequencies.reciprocal().mul(2.0 * std::numbers::pi);
  const at::Tensor slowed = at::where(wave.gt(longest), frequencies.div(rope.factor), frequencies);
  const at::Tensor smooth = wave.reciprocal()
                                .mul(rope.original_max_positions)
                                .sub(rope.low_freq_factor)
                                .div(rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor blended = smooth.neg().add(1.0).mul(slowed).div(rope.factor).add(smooth.mul(slowed));
  return at::where(wave.lt(shortest).logical_or(wave.gt(longest)), slowed, blended);
}

RopeTable::RopeTable(const RopeConfig& rope, int64_t head_dim, const at::Device& device)
    : inverse_frequencies_(rope_inverse_frequencies(rope, head_dim)), device_(device) {}

std::pair<at::Tensor, at::Tensor> RopeTable::tables(int64_t positions) const {
  const std::lock_guard lock(mutex_);
  if (!tables_.first.defined() || tables_.first.size(0) < positions) {
    // The tables outlive the call that first needs them: they must be usable in a later call that takes gradients.
    const c10::InferenceMode normal_tensors(false);
    const at::NoGradGuard no_grad;
    int64_t size = 256;
    while (size < positions) size *= 2;
    const at::Tensor angles = at::outer(at::arange(size, at::kFloat), inverse_frequencies_);
    tables_ = {angles.cos().to(device_), angles.sin().to(device_)};
  }
  return tables_;
}

}  // namespace prudent::models
