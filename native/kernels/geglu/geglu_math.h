// The activations of geglu and their slopes, in terms of functions that the including file provides: for floats on the GPU, for
// vectors on the CPU. Value and slope share their expensive part.
#pragma once

#include "kernels/common/host_device.h"

namespace prudent::kernels {

constexpr float kGeluCubic = 0.044715f;
constexpr float kTwoSqrtTwoOverPi = 1.5957691216057308f;  // 2 * sqrt(2 / pi)
constexpr float kSqrtHalf = 0.70710678118654752f;
constexpr float kInverseSqrtTwoPi = 0.39894228040143268f;

template <typename Number>
struct Activated {
  Number value, slope;
};

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u): no cancellation for large negative x.
template <typename Number, typename Sigmoid>
PRUDENT_MATH Activated<Number> gelu_tanh(Number x, Sigmoid&& sigmoid) {
  const Number s = sigmoid(kTwoSqrtTwoOverPi * (x + kGeluCubic * x * x * x));
  const Number inner_slope = kTwoSqrtTwoOverPi * (1.0f + 3.0f * kGeluCubic * x * x);
  return {x * s, s + x * s * (1.0f - s) * inner_slope};
}

// x Phi(x); erf(z, e^(-z^2)) and exp as arguments.
template <typename Number, typename Erf, typename Exp>
PRUDENT_MATH Activated<Number> gelu_exact(Number x, Erf&& erf, Exp&& exp) {
  const Number density = exp(-0.5f * x * x);
  const Number below = 0.5f + 0.5f * erf(x * kSqrtHalf, density);
  return {x * below, below + x * density * kInverseSqrtTwoPi};
}

template <typename Number, typename Sigmoid>
PRUDENT_MATH Activated<Number> silu(Number x, Sigmoid&& sigmoid) {
  const Number s = sigmoid(x);
  return {x * s, s + x * s * (1.0f - s)};
}

}  // namespace prudent::kernels
