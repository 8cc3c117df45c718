#include "core/device.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <charconv>

#include "core/cpu.h"
#include "core/error.h"

namespace prudent {
namespace {

int cuda_device_count() {
  const auto* guard = c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)].load();
  return guard == nullptr ? 0 : guard->deviceCount();
}

}  // namespace

at::Device parse_device(const std::string& name) {
  if (name == "cpu") return at::Device(at::kCPU);
  constexpr const char* kExpected = "cpu, cuda or cuda:N";
  int index = 0;
  if (name != "cuda") {
    PRUDENT_CHECK(name.rfind("cuda:", 0) == 0 && name.size() > 5, "E_DEVICE", "device", kExpected, "\"" + name + "\"");
    const char* last = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + 5, last, index);
    PRUDENT_CHECK(parsed.ec == std::errc() && parsed.ptr == last && index >= 0 && index < 128, "E_DEVICE", "device", kExpected,
                  "\"" + name + "\"");
  }
  const int count = cuda_device_count();
  PRUDENT_CHECK(index < count, "E_DEVICE", "device",
                count == 0 ? std::string("cpu (no CUDA device is usable here)")
                           : "one of " + std::to_string(count) + " CUDA devices, numbered from 0",
                "\"" + name + "\"");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

std::string device_name(const at::Device& device) {
  if (device.is_cpu()) return "cpu";
  return device.is_cuda() ? "cuda:" + std::to_string(std::max<int>(0, device.index())) : device.str();
}

std::optional<int64_t> free_device_memory(const at::Device& device) {
  if (!device.is_cuda()) return std::nullopt;
  const auto index = static_cast<at::DeviceIndex>(std::max<int>(0, device.index()));
  auto* allocator = at::getDeviceAllocator(at::kCUDA);
  const auto stats = allocator->getDeviceStats(index);
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const int64_t reserve = stats.reserved_bytes[kAll].current - stats.allocated_bytes[kAll].current;
  return static_cast<int64_t>(allocator->getMemoryInfo(index).first) + reserve;
}

at::ScalarType parse_dtype(const std::string& name, const at::Device& device) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  PRUDENT_CHECK(name == "auto", "E_DTYPE", "dtype", "float32, bfloat16 or auto", "\"" + name + "\"");
  // Every CUDA device that the kernels are built for (sm_80 and later) multiplies bfloat16 natively.
  return device.is_cuda() || cpu_info().bf16 ? at::kBFloat16 : at::kFloat;
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kBool:
      return "bool";
    default:
      return c10::toString(dtype);
  }
}

}  // namespace prudent
