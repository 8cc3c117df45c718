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
}  // namespace

const MatmulEngine* int8_matmul_engine() {
#ifdef PRUDENT_VNNI
  static const MatmulEngine engine = PRUDENT_MATMUL_ENGINE(vnni);
  if (has_vnni()) return &engine;
#endif
  return nullptr;
}

const MatmulEngine& matmul_engine() {
  static const MatmulEngine engine = chosen();
  return engine;
}

#undef PRUDENT_MATMUL_ENGINE

}  // namespace prudent::kernels
