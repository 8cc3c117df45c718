#include "kernels/common/dispatch.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace prudent::kernels {

namespace {

Isa machine_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (has_avx512) return Isa::Avx512;
  if (has_avx2) return Isa::Avx2;
#endif
  return Isa::Baseline;
}

Isa choose() {
  const Isa best = machine_isa();
  const char* cap = std::getenv("PRUDENT_CPU_CAPABILITY");
  if (cap == nullptr || *cap == '\0') return best;
  const std::string wanted = cap;
  Isa limit = Isa::Baseline;
  if (wanted == "avx512") {
    limit = Isa::Avx512;
  } else if (wanted == "avx2") {
    limit = Isa::Avx2;
  } else {
    PRUDENT_CHECK(wanted == "baseline", "E_RANGE", "PRUDENT_CPU_CAPABILITY", "baseline, avx2 or avx512", wanted);
  }
  return limit < best ? limit : best;
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name() {
  switch (isa()) {
    case Isa::Avx512:
      return "avx512";
    case Isa::Avx2:
      return "avx2";
    case Isa::Baseline:
      break;
  }
  return "baseline";
}

}  // namespace prudent::kernels
