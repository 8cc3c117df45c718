// What an optimiser does to all parameters once per step.
#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros_like.h>

#include "kernels/adamw/adamw.h"
#include "kernels/global_norm/global_norm.h"
#include "op_case.h"

namespace prudent::bench {

namespace {

// Steps of one large parameter, in place; the check looks at the first step from a fresh state.
Function steps(void (*update)(const std::vector<kernels::AdamwParameter>&, const kernels::AdamwOptions&),
               const kernels::AdamwParameter& parameter, std::shared_ptr<int64_t> step) {
  return [=](const Tensors&) {
    kernels::AdamwOptions options;
    options.step = ++*step;
    update({parameter}, options);
    return Tensors{parameter.parameter, parameter.moment1, parameter.moment2};
  };
}

}  // namespace

OpCase adamw_case(const Json& spec, const at::Device& device) {
  const int64_t count = size_of(spec, "parameters");
  const at::ScalarType dtype = dtype_of(spec);
  const auto fresh = [&] {
    const at::Tensor value = normal({count}, 1).to(device);
    kernels::AdamwParameter p;
    p.parameter = value.to(dtype).clone();
    p.gradient = normal({count}, 2, 0.1).to(device, dtype);
    p.moment1 = at::zeros_like(value);
    p.moment2 = at::zeros_like(value);
    if (dtype != at::kFloat) p.master = value;
    return p;
  };
  OpCase op;
  op.ours = steps(kernels::adamw, fresh(), std::make_shared<int64_t>(0));
  op.reference = steps(kernels::adamw_reference, fresh(), std::make_shared<int64_t>(0));
  op.differentiable = false;
  // fp32: p, g, m, v in and p, m, v out; bf16: g in, p out, and m, v, master in and out.
  op.forward_bytes = static_cast<double>(count) * 28;
  return op;
}

OpCase global_norm_case(const Json& spec, const at::Device& device) {
  const int64_t tensors = size_of(spec, "tensors"), items = size_of(spec, "items");
  const auto with = [](auto norm) {
    return [=](const Tensors& in) { return Tensors{at::scalar_tensor(norm(in), at::kDouble)}; };
  };
  OpCase op;
  op.ours = with(kernels::global_norm);
  op.reference = with(kernels::global_norm_reference);
  for (int64_t i = 0; i < tensors; ++i) {
    op.inputs.push_back(normal({items}, static_cast<uint64_t>(i + 1), 0.1).to(device, dtype_of(spec)));
    op.forward_bytes += static_cast<double>(op.inputs.back().nbytes());
  }
  op.differentiable = false;
  return op;
}

}  // namespace prudent::bench
