// How far a training step may be from PyTorch's, and why. Values are relative; measured ones are of an AVX-512 CPU.
#pragma once

namespace prudent::tests {

// One forward and backward in fp32: other summation orders than PyTorch's give a few 1e-6 (measured 2e-6).
inline constexpr double kStepTolerance = 3e-5;
// After ten optimiser steps: rounding differences pass through Adam's division by sqrt(v), ten times (measured 3e-5).
inline constexpr double kTenStepsTolerance = 5e-4;
// Another division into micro-batches: sums of the same numbers in another order.
inline constexpr double kRegroupTolerance = 2e-5;
// A bf16 gradient rounded before instead of after micro-batches are added up: half a percent of it, three times through Adam
// (measured 0.0144 of the largest weight).
inline constexpr double kRoundedGradientTolerance = 0.04;
// Least size of a parameter that a relative error is taken of.
inline constexpr double kFloor = 1e-4;
// The same for gradients: those of the key bias are 0 but for rounding, some 1e-8 (a few 1e-8 in PyTorch too).
inline constexpr double kGradientFloor = 1e-2;
// Mean reward after 20 PPO steps, of four seeds each: from seed to seed it scatters by 0.026 (measured in fp32), so the
// difference of two such means has a standard deviation of about 0.018; this is three of them.
inline constexpr double kCurveTolerance = 0.055;

}  // namespace prudent::tests
