// AdamW's update of one number (or vector of numbers): shared by the CPU and CUDA versions.
#pragma once

#include "kernels/adamw/adamw_kernel.h"
#include "kernels/common/host_device.h"

namespace prudent::kernels {

template <typename Number>
struct AdamwItem {
  Number parameter, moment1, moment2;
};

// `root` is the square root that the including file provides.
template <typename Number, typename Root>
PRUDENT_MATH AdamwItem<Number> adamw_update(const AdamwArgs& args, float keep, AdamwItem<Number> item, Number gradient,
                                            Root&& root) {
  const Number g = gradient * args.gradient_scale;
  const Number m = args.beta1 * item.moment1 + args.gradient_weight1 * g;
  const Number v = args.beta2 * item.moment2 + args.gradient_weight2 * g * g;
  const Number p = item.parameter * keep - args.step_size * m / (root(v) * args.root_correction + args.eps);
  return {p, m, v};
}

// Weight decay, decoupled from the gradient.
PRUDENT_MATH float adamw_keep(const AdamwArgs& args, const AdamwEntry& entry) { return 1.0f - args.lr * entry.weight_decay; }

// The last entry whose first chunk is not behind `chunk`; empty entries have no chunk and are passed over.
PRUDENT_MATH int64_t adamw_entry_of(const AdamwArgs& args, int64_t chunk) {
  int64_t low = 0, high = args.entry_count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (args.entries[middle].first_chunk <= chunk) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace prudent::kernels
