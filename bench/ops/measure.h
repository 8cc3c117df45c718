// Time of one call of a body, averaged over enough calls that the clock does not matter.
#pragma once

#include <c10/core/Device.h>

#include <functional>

namespace prudent::bench {

// Seconds of one call: the mean over as many calls as fill `least_seconds` (one at least). On CUDA the device's work is awaited.
double seconds_per_call(const std::function<void()>& body, const at::Device& device, double least_seconds);

// Seconds to copy so that `bytes` are read and written in all: half of them each.
double copy_seconds(double bytes, const at::Device& device, double least_seconds);

}  // namespace prudent::bench
