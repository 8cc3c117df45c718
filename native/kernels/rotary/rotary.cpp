#include "kernels/rotary/rotary.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/common/run_kernel.h"
#include "kernels/rotary/rotary_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows of [heads, head_dim] without gaps; tokens may lie apart, as in a slice of a fused projection.
at::Tensor with_dense_rows(const at::Tensor& x) { return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous(); }

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin, float sign) {
  const at::Tensor dense = with_dense_rows(x);
  const at::Tensor y = at::empty(x.sizes(), x.options());
  const RotaryArgs args{.x = dense.const_data_ptr(),
                        .positions = positions.const_data_ptr<int64_t>(),
                        .cos = cos.const_data_ptr<float>(),
                        .sin = sin.const_data_ptr<float>(),
                        .y = y.mutable_data_ptr(),
                        .tokens = x.size(0),
                        .heads = x.size(1),
                        .head_dim = x.size(2),
                        .x_stride = dense.stride(0),
                        .sign = sign,
                        .bf16 = x.scalar_type() == at::kBFloat16};
  if (x.numel() > 0) PRUDENT_RUN_KERNEL(rotary_rotate, args, x);
  return y;
}

struct RotaryNode : torch::autograd::Function<RotaryNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({positions, cos, sin});
    return rotate(x, positions, cos, sin, 1.0f);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    return {rotate(grads[0], saved[0], saved[1], saved[2], -1.0f), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rotary(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos, const at::Tensor& sin) {
  check_kernel_dtype(x, "x");
  check_dims(x, "x", 3, "[tokens, heads, head_dim]");
  check_device(x, "x");
  PRUDENT_CHECK(x.size(2) % 2 == 0, "E_SHAPE", "x", "an even head_dim", describe(x));
  check_dtype(positions, "positions", at::kLong);
  check_shape(positions, "positions", {x.size(0)});
  check_dtype(cos, "cos", at::kFloat);
  check_dims(cos, "cos", 2, "[max_positions, head_dim / 2]");
  check_shape(cos, "cos", {cos.size(0), x.size(2) / 2});
  check_dtype(sin, "sin", at::kFloat);
  check_shape(sin, "sin", {cos.size(0), x.size(2) / 2});
  check_same_device(positions, "positions", x);
  check_same_device(cos, "cos", x);
  check_same_device(sin, "sin", x);
  check_range(positions, "positions", 0, cos.size(0) - 1);
  return RotaryNode::apply(x, positions.contiguous(), cos.contiguous(), sin.contiguous());
}

}  // namespace prudent::kernels
