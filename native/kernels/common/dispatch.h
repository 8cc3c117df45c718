// Which instruction set the CPU kernels run on: the best that this machine has, capped by PRUDENT_CPU_CAPABILITY
// (baseline | avx2 | avx512 | amx). Chosen once per process.
#pragma once

namespace prudent::kernels {

enum class Isa { Baseline, Avx2, Avx512 };

Isa isa();
const char* isa_name();  // "baseline" | "avx2" | "avx512" | "amx"
// AVX-512 with its bf16 instructions, and AMX tiles that the operating system grants to this process. <op>_amx.cpp files are
// for such machines alone; every kernel that has one also has a way without.
bool has_amx();
// AVX-512 with products of 8-bit integers, for which <op>_vnni.cpp files are.
bool has_vnni();

}  // namespace prudent::kernels

// Declares a CPU kernel in the namespaces of all instruction sets; <op>_cpu.cpp defines it once in namespace PRUDENT_ISA.
#define PRUDENT_DECLARE_CPU_KERNEL(name, Args) \
  namespace baseline {                         \
  void name(const Args& args);                 \
  }                                            \
  namespace avx2 {                             \
  void name(const Args& args);                 \
  }                                            \
  namespace avx512 {                           \
  void name(const Args& args);                 \
  }

#if defined(__x86_64__)
#define PRUDENT_RUN_CPU_KERNEL(name, args)        \
  do {                                            \
    switch (::prudent::kernels::isa()) {          \
      case ::prudent::kernels::Isa::Avx512:       \
        ::prudent::kernels::avx512::name(args);   \
        break;                                    \
      case ::prudent::kernels::Isa::Avx2:         \
        ::prudent::kernels::avx2::name(args);     \
        break;                                    \
      case ::prudent::kernels::Isa::Baseline:     \
        ::prudent::kernels::baseline::name(args); \
        break;                                    \
    }                                             \
  } while (false)
#else
#define PRUDENT_RUN_CPU_KERNEL(name, args) ::prudent::kernels::baseline::name(args)
#endif
