#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels {

namespace {

#define PRUDENT_MATMUL_ENGINE(isa) \
  MatmulEngine { isa::matmul_run, isa::matmul_packed_bytes, isa::matmul_pack_right }
MatmulEngine chosen() {
#ifdef PRUDENT_AMX
  if (has_amx()) return PRUDENT_MATMUL_ENGINE(amx);
#endif
#if defined(__x86_64__)
  if (isa() == Isa::Avx512) return PRUDENT_MATMUL_ENGINE(avx512);
  if (isa() == Isa::Avx2) return PRUDENT_MATMUL_ENGINE(avx2);
#endif
  return PRUDENT_MATMUL_ENGINE(baseline);
}
#undef PRUDENT_MATMUL_ENGINE

}  // namespace

const MatmulEngine& matmul_engine() {
  static const MatmulEngine engine = chosen();
  return engine;
}

}  // namespace prudent::kernels
