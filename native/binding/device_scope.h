// Where a job computes: on CUDA its strand's device and a stream of the strand's own, so that handles run side by side.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

namespace prudent::binding {

// The stream of a new strand; none on the CPU.
inline std::optional<c10::Stream> make_stream(const at::Device& device) {
  if (device.is_cpu()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

class DeviceScope {
 public:
  explicit DeviceScope(const std::optional<c10::Stream>& stream) : stream_(stream) {
    if (stream_) guard_.reset_stream(*stream_);
  }
  // What the job started is done: its results may be read from any other stream or thread. Failures of kernels come up here.
  void finish() const {
    if (stream_) stream_->synchronize();
  }

 private:
  std::optional<c10::Stream> stream_;
  c10::OptionalStreamGuard guard_;
};

}  // namespace prudent::binding
