// What a long computation needs to know of its caller: has it been cancelled, and where to report progress.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/error.h"

namespace prudent {

class CancelToken {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

// Passed by reference into every computation that can take longer than a few milliseconds; polled between micro-batches.
class Job {
 public:
  Job() = default;
  Job(std::shared_ptr<const CancelToken> token, std::function<void(int64_t done, int64_t total)> progress)
      : token_(std::move(token)), progress_(std::move(progress)) {}

  // Throws E_CANCELLED when the caller has given up.
  void poll() const {
    if (token_ && token_->cancelled()) {
      fail("E_CANCELLED", "signal", "a running call", "an abort");
    }
  }
  void report(int64_t done, int64_t total) const {
    if (progress_) progress_(done, total);
  }

 private:
  std::shared_ptr<const CancelToken> token_;
  std::function<void(int64_t, int64_t)> progress_;
};

}  // namespace prudent
