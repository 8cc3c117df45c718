// A matrix as the packing of products reads it.
#pragma once

#include "kernels/common/vec.h"

namespace prudent::kernels::PRUDENT_ISA {

enum class Side { Left, Right };

// `outer` is its row (left operand) or column (right operand), `depth` what is summed over.
template <typename T>
struct Operand {
  const T* data;
  int64_t stride;        // items from one outer index to the next (depth_contiguous) or from one depth to the next
  int64_t outer, depth;  // valid extents from `data` on; what lies beyond reads as 0
};

}  // namespace prudent::kernels::PRUDENT_ISA
