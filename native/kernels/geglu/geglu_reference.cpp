#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/silu.h>

#include "kernels/geglu/geglu.h"

namespace prudent::kernels {

at::Tensor geglu_reference(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  switch (activation) {
    case Activation::GeluTanh:
      return at::gelu(gate, "tanh") * up;
    case Activation::GeluExact:
      return at::gelu(gate, "none") * up;
    case Activation::Silu:
      break;
  }
  return at::silu(gate) * up;
}

}  // namespace prudent::kernels
