// Every tolerance of the C++ tests, with its reason. Errors are relative to max(1, largest expected value).
#pragma once

namespace prudent::tests {

// The same sum in another order: fp32 keeps 24 bits, a few hundred terms lose four or five of them.
constexpr double kParityFp32 = 2e-6;
// Two matrix products and a softmax in a row (attention, LM head), each with its own order of summation.
constexpr double kParityMatmulFp32 = 1e-5;
// One matrix product, relative to the sum of the absolute products: fp32 rounds each to 2^-24, and a few hundred roundings of
// the running sum add up like a random walk.
constexpr double kMatmulFp32 = 1e-6;
// Statistics that both sides add up in fp64 or that come out of fp32 means of a few hundred tokens.
constexpr double kStatisticFp32 = 1e-5;
// bfloat16: ours may be off by as much again as the reference run in bfloat16 is (both against fp32) ...
constexpr double kBf16Factor = 2.0;
// ... or by half a unit in the last place of bfloat16 where the reference happens to be exact.
constexpr double kBf16Floor = 1.0 / 256;
// Central differences in float64 with step 1e-6: truncation 1e-12, cancellation 1e-10, times the condition of the operation.
constexpr double kDifference = 1e-6;
constexpr double kDifferenceStep = 1e-6;

}  // namespace prudent::tests
