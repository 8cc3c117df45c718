// Tolerances of whole models, each with its reason.
#pragma once

namespace prudent::tests {

// Against transformers, relative to the largest value: PyTorch's own noise is 4e-6, typical mistakes make 1e-4 and more.
constexpr double kModelFp32 = 3e-5;
// Root mean square error against float32, in units of PyTorch's own bfloat16 error.
constexpr double kModelBf16Factor = 2.0;
// A score is one rounded product: where PyTorch's happens to be exact, half a unit in the last place of bfloat16 is allowed.
constexpr double kModelBf16Floor = 1.0 / 256;

}  // namespace prudent::tests
