#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include "kernels/adamw/adamw.h"
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

}  // namespace prudent::bench
