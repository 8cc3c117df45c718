// Gated activation of the feed-forward block (Shazeer 2020): y = act(gate) * up.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace prudent::kernels {

enum class Activation { GeluTanh, GeluExact, Silu };

// gate, up [tokens, intermediate] fp32 | bf16 -> [tokens, intermediate]. Differentiable in both.
at::Tensor geglu(const at::Tensor& gate, const at::Tensor& up, Activation activation);
at::Tensor geglu_reference(const at::Tensor& gate, const at::Tensor& up, Activation activation);
// Gradients of gate and up, for nodes that saved both themselves; all contiguous.
std::pair<at::Tensor, at::Tensor> geglu_gradients(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad_y,
                                                  Activation activation);

}  // namespace prudent::kernels
