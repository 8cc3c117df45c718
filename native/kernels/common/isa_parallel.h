// parallel_for with a lambda, for <op>_cpu.cpp files; the template lives in namespace PRUDENT_ISA (see host_device.h).
#pragma once

#include "kernels/common/parallel.h"
#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

// body(begin, end) on ranges that cover [0, count); see parallel.h.
template <typename Body>
PRUDENT_VEC void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= grain) {
    if (count > 0) body(static_cast<int64_t>(0), count);
    return;
  }
  parallel_ranges(
      count, grain, [](void* context, int64_t begin, int64_t end) { (*static_cast<const Body*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace prudent::kernels::PRUDENT_ISA
