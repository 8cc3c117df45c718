// AdamW (Loshchilov & Hutter 2019) over a list of parameters in one fused pass, PyTorch's order of operations:
//   p *= 1 - lr * wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// No gradient: an update is the end of the graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace prudent::kernels {

struct AdamwParameter {
  at::Tensor parameter;  // any shape, fp32 | bf16, updated in place
  at::Tensor gradient;   // same shape and dtype as the parameter, or fp32
  at::Tensor moment1;    // same shape, fp32
  at::Tensor moment2;    // same shape, fp32
  at::Tensor master;     // fp32 copy of a bf16 parameter, or undefined
  double weight_decay = 0.0;
};

struct AdamwOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double gradient_scale = 1.0;  // gradients are multiplied by this on the fly (norm clipping)
  int64_t step = 1;             // 1 for the first update
};

void adamw(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options);
void adamw_reference(const std::vector<AdamwParameter>& parameters, const AdamwOptions& options);

}  // namespace prudent::kernels
