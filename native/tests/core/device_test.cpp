#include "core/device.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "core/cpu.h"
#include "support/error_code.h"

namespace prudent {
namespace {

using tests::error_of;

TEST_CASE("device: names") {
  CHECK(parse_device("cpu").is_cpu());
  CHECK(device_name(parse_device("cpu")) == "cpu");
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:99", "CPU"}) {
    CAPTURE(name);
    const Error error = error_of([&] { (void)parse_device(name); });
    CHECK(error.code == "E_DEVICE");
    CHECK(error.received.find(name) != std::string::npos);
  }
}

TEST_CASE("dtype: names, and auto by what the CPU can do") {
  CHECK((parse_dtype("float32", at::kCPU) == at::kFloat));
  CHECK((parse_dtype("bfloat16", at::kCPU) == at::kBFloat16));
  CHECK((parse_dtype("auto", at::kCPU) == (cpu_info().bf16 ? at::kBFloat16 : at::kFloat)));
  CHECK(error_of([] { (void)parse_dtype("float16", at::kCPU); }).code == "E_DTYPE");
  CHECK(dtype_name(at::kBFloat16) == "bfloat16");
}

TEST_CASE("cpu: what is found agrees with the kernel's list") {
  std::ifstream file("/proc/cpuinfo");
  std::string flags;
  for (std::string line; flags.empty() && std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0) flags = line + " ";
  }
  if (!flags.empty() && std::getenv("PRUDENT_CPU_CAPABILITY") == nullptr) {
    const bool avx2 = cpu_info().capability >= CpuCapability::Avx2;
    CHECK(avx2 == (flags.find(" avx2 ") != std::string::npos));
    const bool bf16 = flags.find(" avx512_bf16 ") != std::string::npos || flags.find(" amx_bf16 ") != std::string::npos;
    CHECK(cpu_info().bf16 == (bf16 && cpu_info().capability == CpuCapability::Avx512));
  }
  CHECK(cpu_info().cores >= 1);
}

}  // namespace
}  // namespace prudent
