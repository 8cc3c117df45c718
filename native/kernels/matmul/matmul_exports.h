// What an engine's file defines of matmul_kernel.h.
#include "kernels/matmul/matmul_product.h"

namespace prudent::kernels::PRUDENT_ISA {

void matmul_run(const MatmulArgs& args) {
  if (!args.bf16) return run<float, float>(args);
  args.out_bf16 ? run<Bf16, Bf16>(args) : run<Bf16, float>(args);
}

int64_t matmul_packed_bytes(const MatmulArgs& args) {
  const Packed packed(args, args.bf16 ? kPlanesOf<Bf16> : kPlanesOf<float>);
  return packed.blocks * packed.block_bytes;
}

void matmul_pack_right(const MatmulArgs& args, void* to) {
  args.bf16 ? pack_all<Bf16>(args, static_cast<char*>(to)) : pack_all<float>(args, static_cast<char*>(to));
}

}  // namespace prudent::kernels::PRUDENT_ISA
