#include "kernels/common/dispatch.h"

#include <cstdlib>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

struct Limit {
  Isa isa = Isa::Avx512;
  bool amx = true;
};

Limit capped() {
  const char* cap = std::getenv("PRUDENT_CPU_CAPABILITY");
  const std::string wanted = cap == nullptr || *cap == '\0' ? "amx" : cap;
  if (wanted == "amx") return {};
  if (wanted == "avx512") return {Isa::Avx512, false};
  if (wanted == "avx2") return {Isa::Avx2, false};
  PRUDENT_CHECK(wanted == "baseline", "E_RANGE", "PRUDENT_CPU_CAPABILITY", "baseline, avx2, avx512 or amx", wanted);
  return {Isa::Baseline, false};
}

bool machine_has_amx() {
#if defined(PRUDENT_AMX) && defined(__x86_64__) && defined(__linux__)
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  const bool tiles = (edx & (1u << 24)) != 0 && (edx & (1u << 22)) != 0;  // AMX-TILE, AMX-BF16
  if (!tiles || __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0 || (eax & (1u << 5)) == 0) return false;  // AVX512-BF16
  // The kernel hands out the state of the tiles on request, once for all threads of the process.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

Isa isa() {
  static const Isa chosen = [] {
    const Isa best = machine_isa(), limit = capped().isa;
    return limit < best ? limit : best;
  }();
  return chosen;
}

bool has_amx() {
  static const bool chosen = capped().amx && isa() == Isa::Avx512 && machine_has_amx();
  return chosen;
}

bool has_vnni() {
#if defined(PRUDENT_VNNI) && defined(__x86_64__)
  static const bool chosen = isa() == Isa::Avx512 && __builtin_cpu_supports("avx512vnni");
  return chosen;
#else
  return false;
#endif
}

const char* isa_name() {
  if (has_amx()) return "amx";
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
