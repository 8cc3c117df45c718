#include "kernels/common/isa_parallel.h"
#include "kernels/global_norm/global_norm_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename T>
double sum_of_squares(const NormStretch& stretch) {
  const T* data = static_cast<const T*>(stretch.data);
  return dot(data, data, stretch.count);
}

}  // namespace

void global_norm_run(const GlobalNormArgs& args) {
  parallel_for(args.count, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const NormStretch& stretch = args.stretches[i];
      args.sums[i] = stretch.bf16 ? sum_of_squares<Bf16>(stretch) : sum_of_squares<float>(stretch);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
