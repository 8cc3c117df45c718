#include "kernels/common/parallel.h"

#include <ATen/Parallel.h>

namespace prudent::kernels {

void parallel_ranges(int64_t count, int64_t grain, ParallelBody body, void* context) {
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

int64_t parallel_threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

}  // namespace prudent::kernels
