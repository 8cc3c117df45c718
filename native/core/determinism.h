// Bit-exact runs on CUDA: flash attention's deterministic backward, sorted gradients of gathers, a fixed cuBLAS workspace. The
// CPU is always deterministic for a given number of threads, and so are prudent's own kernels, which add up in a fixed order.
#pragma once

namespace prudent {

// For the whole process; turn it on before the first CUDA work, as cuBLAS reads its workspace setting once.
void set_deterministic(bool on);
[[nodiscard]] bool deterministic();
// Turns it on where PRUDENT_DETERMINISTIC is 1.
void apply_determinism_variable();

}  // namespace prudent
