#include "kernels/bradley_terry/bradley_terry.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/bradley_terry/bradley_terry_kernel.h"
#include "kernels/common/run_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The forward pass already knows the gradient; backward scales it.
struct BradleyTerryNode : torch::autograd::Function<BradleyTerryNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& chosen, const at::Tensor& rejected, BradleyTerry* out) {
    BradleyTerry result = bradley_terry(chosen, rejected);
    context->save_for_backward({result.grad_chosen, result.grad_rejected});
    const at::Tensor loss = result.loss.clone();
    if (out != nullptr) *out = std::move(result);
    return loss;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    return {grads[0] * saved[0], grads[0] * saved[1], at::Tensor()};
  }
};

}  // namespace

BradleyTerry bradley_terry(const at::Tensor& chosen, const at::Tensor& rejected) {
  check_dtype(chosen, "chosen", at::kFloat);
  check_dims(chosen, "chosen", 2, "[pairs, heads]");
  PRUDENT_CHECK(chosen.numel() > 0, "E_SHAPE", "chosen", "at least one pair and one head", describe(chosen));
  check_dtype(rejected, "rejected", at::kFloat);
  check_shape(rejected, "rejected", {chosen.size(0), chosen.size(1)});
  check_same_device(rejected, "rejected", chosen);
  check_device(chosen, "chosen");

  const int64_t pairs = chosen.size(0), heads = chosen.size(1), blocks = (pairs + kPairBlock - 1) / kPairBlock;
  const at::Tensor c = chosen.detach().contiguous(), r = rejected.detach().contiguous();
  const BradleyTerry out{at::empty({}, c.options()), at::empty({heads}, c.options()), at::empty({heads}, c.options()),
                         at::empty_like(c), at::empty_like(c)};
  const at::Tensor partial = at::empty({blocks, heads, 2}, c.options().dtype(at::kDouble));
  const BradleyTerryArgs args{.chosen = c.const_data_ptr<float>(),
                              .rejected = r.const_data_ptr<float>(),
                              .grad_chosen = out.grad_chosen.mutable_data_ptr<float>(),
                              .grad_rejected = out.grad_rejected.mutable_data_ptr<float>(),
                              .loss = out.loss.mutable_data_ptr<float>(),
                              .loss_per_head = out.loss_per_head.mutable_data_ptr<float>(),
                              .accuracy_per_head = out.accuracy_per_head.mutable_data_ptr<float>(),
                              .partial = partial.mutable_data_ptr<double>(),
                              .pairs = pairs,
                              .heads = heads};
  PRUDENT_RUN_KERNEL(bradley_terry_run, args, c);
  return out;
}

at::Tensor bradley_terry_loss(const at::Tensor& chosen, const at::Tensor& rejected, BradleyTerry* out) {
  return BradleyTerryNode::apply(chosen, rejected, out);
}

}  // namespace prudent::kernels
