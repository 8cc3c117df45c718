// What this CPU can do.
#pragma once

#include <string>

namespace prudent {

enum class CpuCapability { Baseline, Avx2, Avx512 };

struct CpuInfo {
  CpuCapability capability = CpuCapability::Baseline;
  bool bf16 = false;  // multiplies bf16 natively (AVX512-BF16 or AMX)
  std::string model;
  int cores = 1;  // that this process may use
};

// PRUDENT_CPU_CAPABILITY=baseline|avx2|avx512 in the environment caps what is found (tests run with it); read once.
const CpuInfo& cpu_info();
// "baseline" | "avx2" | "avx512"
const char* capability_name(CpuCapability capability);

}  // namespace prudent
