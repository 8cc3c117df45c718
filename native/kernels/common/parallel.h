// Parallel loops for the CPU kernels, over libtorch's own thread pool and its thread count; no torch header is needed here.
#pragma once

#include <cstdint>

namespace prudent::kernels {

using ParallelBody = void (*)(void* context, int64_t begin, int64_t end);

// Calls body on disjoint ranges that cover [0, count), each of at least `grain` items; on one thread when count <= grain.
// A kernel's result must not depend on where the ranges are cut.
void parallel_ranges(int64_t count, int64_t grain, ParallelBody body, void* context);

// On how many threads at most, called from here.
int64_t parallel_threads();

}  // namespace prudent::kernels
