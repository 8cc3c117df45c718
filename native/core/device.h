// Names of devices and dtypes as users write them; a device's memory.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>

namespace prudent {

// "cpu", "cuda" (device 0) or "cuda:N"; E_DEVICE when it is none of these or is not there.
at::Device parse_device(const std::string& name);
std::string device_name(const at::Device& device);

// Bytes of a CUDA device that a new tensor may take: what no process has, and what this one's allocator holds in reserve.
std::optional<int64_t> free_device_memory(const at::Device& device);

// "float32" | "bfloat16"; "auto": bfloat16 where the device multiplies it natively, else float32. E_DTYPE otherwise.
at::ScalarType parse_dtype(const std::string& name, const at::Device& device);
// "float32", "bfloat16", "float16", "float64", "int64" …
std::string dtype_name(at::ScalarType dtype);

}  // namespace prudent
