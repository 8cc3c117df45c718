#include "kernels/gated_linear/gated_linear.h"
#include "kernels/linear/linear.h"

namespace prudent::kernels {

at::Tensor gated_linear_reference(const at::Tensor& x, const GatedWeights& weights, Activation activation) {
  return geglu_reference(linear_reference(x, weights.gate, {.bias = weights.gate_bias}),
                         linear_reference(x, weights.up, {.bias = weights.up_bias}), activation);
}

at::Tensor gated_feed_forward_reference(const at::Tensor& x, const GatedWeights& weights, Activation activation,
                                        const DownProjection& down) {
  return linear_reference(gated_linear_reference(x, weights, activation), down.weight,
                          {.bias = down.bias, .residual = down.residual});
}

}  // namespace prudent::kernels
