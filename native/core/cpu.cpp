#include "core/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace prudent {
namespace {

CpuCapability find_capability() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    return CpuCapability::Avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CpuCapability::Avx2;
#endif
  return CpuCapability::Baseline;
}

bool find_bf16() {
#if defined(__x86_64__)
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  const bool amx = (edx & (1u << 22)) != 0;  // AMX-BF16
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) == 0) return amx;
  return amx || (eax & (1u << 5)) != 0;  // AVX512-BF16
#else
  return false;
#endif
}

std::string find_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
  return "unknown";
}

int find_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

CpuInfo find() {
  CpuInfo info{find_capability(), false, find_model(), find_cores()};
  if (const char* cap = std::getenv("PRUDENT_CPU_CAPABILITY")) {
    for (const CpuCapability capability : {CpuCapability::Baseline, CpuCapability::Avx2}) {
      if (std::strcmp(cap, capability_name(capability)) == 0) info.capability = std::min(info.capability, capability);
    }
  }
  info.bf16 = info.capability == CpuCapability::Avx512 && find_bf16();
  return info;
}

}  // namespace

const CpuInfo& cpu_info() {
  static const CpuInfo info = find();
  return info;
}

const char* capability_name(CpuCapability capability) {
  switch (capability) {
    case CpuCapability::Baseline:
      return "baseline";
    case CpuCapability::Avx2:
      return "avx2";
    default:
      return "avx512";
  }
}

}  // namespace prudent
