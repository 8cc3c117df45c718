// Losses and advantages of RLHF, each with its gradients in one call.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include "kernels/bradley_terry/bradley_terry.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "op_case.h"

namespace prudent::bench {

OpCase bradley_terry_case(const Json& spec, const at::Device& device) {
  const int64_t pairs = size_of(spec, "pairs"), heads = size_of(spec, "heads");
  const auto with = [](auto loss) {
    return [=](const Tensors& in) {
      const kernels::BradleyTerry out = loss(in[0], in[1]);
      return Tensors{out.loss_per_head, out.accuracy_per_head, out.grad_chosen, out.grad_rejected};
    };
  };
  OpCase op;
  op.ours = with(kernels::bradley_terry);
  op.reference = with(kernels::bradley_terry_reference);
  op.inputs = {normal({pairs, heads}, 1).to(device), normal({pairs, heads}, 2).to(device)};
  op.differentiable = false;
  return op;
}

OpCase ppo_loss_case(const Json& spec, const at::Device& device) {
  const int64_t batch = size_of(spec, "batch"), time = size_of(spec, "time");
  const at::Tensor lengths = response_lengths(batch, time).to(device);
  const auto with = [=](auto loss) {
    return [=](const Tensors& in) {
      const kernels::PpoLoss out = loss(in[0], in[1], in[2], in[3], in[4], in[5], lengths, kernels::PpoLossOptions{});
      return Tensors{out.policy_loss, out.value_loss, out.grad_logprobs, out.grad_values};
    };
  };
  const auto random = [&](uint64_t seed, double scale = 1.0) { return normal({batch, time}, seed, scale).to(device); };
  const at::Tensor old_logprobs = random(1), old_values = random(3);
  OpCase op;
  op.ours = with(kernels::ppo_loss);
  op.reference = with(kernels::ppo_loss_reference);
  op.inputs = {old_logprobs + random(2, 0.3), old_values + random(4, 0.3), old_logprobs, old_values, random(5), random(6)};
  op.differentiable = false;
  return op;
}

OpCase variance_kl_advantage_case(const Json& spec, const at::Device& device) {
  const int64_t batch = size_of(spec, "batch"), time = size_of(spec, "time");
  const at::Tensor lengths = response_lengths(batch, time).to(device);
  const auto with = [=](auto advantage) {
    return [=](const Tensors& in) {
      const kernels::VarianceKlAdvantage out = advantage(in[0], in[1], in[2], in[3], in[4], lengths, std::nullopt, {});
      return Tensors{out.rewards, out.advantages, out.returns, out.kl};
    };
  };
  const auto random = [&](uint64_t seed) { return normal({batch, time}, seed).to(device); };
  OpCase op;
  op.ours = with(kernels::variance_kl_advantage);
  op.reference = with(kernels::variance_kl_advantage_reference);
  op.inputs = {random(1), random(2), random(3), normal({batch}, 4).to(device), normal({batch}, 5, 0.1).abs().to(device)};
  op.differentiable = false;
  return op;
}

}  // namespace prudent::bench
