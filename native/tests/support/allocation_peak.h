// Bytes of CPU tensors that this thread allocates while an object of this class lives, as libtorch's allocator reports them.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace prudent::tests {

class AllocationPeak {
 public:
  AllocationPeak() : counter_(std::make_shared<Counter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}
  // Still allocated now.
  [[nodiscard]] int64_t held() const { return counter_->held; }
  // The most at any moment.
  [[nodiscard]] int64_t peak() const { return counter_->peak; }

 private:
  struct Counter : c10::MemoryReportingInfoBase {
    int64_t held = 0, peak = 0;
    void reportMemoryUsage(void* /*pointer*/, int64_t bytes, size_t /*allocated*/, size_t /*reserved*/,
                           c10::Device /*device*/) override {
      held += bytes;
      peak = std::max(peak, held);
    }
    bool memoryProfilingEnabled() const override { return true; }
  };

  std::shared_ptr<Counter> counter_;
  c10::DebugInfoGuard guard_;
};

}  // namespace prudent::tests
