// Where computations run: lanes (threads) that take jobs from strands. A strand runs its jobs one at a time, in the order in
// which they came. On the CPU all strands share one process-wide executor; on CUDA each handle has a thread of its own.
// Knows nothing of Node.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "binding/device_scope.h"
#include "core/job.h"

namespace prudent::binding {

// What a job hands back: called on the lane once the executor no longer counts the job as running.
using Deliver = std::function<void()>;

struct QueuedJob {
  std::shared_ptr<CancelToken> token;
  std::function<Deliver()> run;  // must not throw
};

class Executor;

// The jobs of one handle, waiting in line. All fields are guarded by the executor's mutex.
class Strand {
 public:
  explicit Strand(std::shared_ptr<Executor> executor, at::Device device = at::kCPU)
      : executor_(std::move(executor)), device_(device), stream_(make_stream(device)) {}
  ~Strand();
  Strand(const Strand&) = delete;
  Strand& operator=(const Strand&) = delete;

  [[nodiscard]] Executor& executor() const { return *executor_; }
  // Current device of its jobs; a strand of another device than the CPU has its executor to itself.
  [[nodiscard]] at::Device device() const { return device_; }
  [[nodiscard]] const std::optional<c10::Stream>& stream() const { return stream_; }

 private:
  friend class Executor;
  std::shared_ptr<Executor> executor_;
  at::Device device_;
  std::optional<c10::Stream> stream_;
  std::deque<std::shared_ptr<QueuedJob>> waiting_;
  bool active_ = false;  // on the ready list or on a lane
};

struct ExecutorShape {
  int lanes = 1;
  int threads_per_lane = 1;
};

class Executor : public std::enable_shared_from_this<Executor> {
 public:
  static constexpr size_t kMaxWaitingPerStrand = 256;
  static constexpr size_t kMaxWaiting = 4096;

  explicit Executor(ExecutorShape shape) : shape_(shape) {}
  // One lane with all cores until it is configured. Never destroyed: lanes may outlive static destruction.
  static const std::shared_ptr<Executor>& cpu();
  static int cores();

  [[nodiscard]] ExecutorShape shape() const;
  // E_BUSY while a job waits or runs, E_RANGE unless lanes x threads per lane fits the cores.
  void configure(ExecutorShape shape);

  // E_BUSY when the strand or the executor has too many waiting jobs.
  void post(const std::shared_ptr<Strand>& strand, std::shared_ptr<QueuedJob> task);
  // True when the task had not begun; it will never run then.
  bool withdraw(Strand& strand, const std::shared_ptr<QueuedJob>& task);
  // Lanes end as soon as they are idle.
  void retire();

 private:
  // With no job for this long the memory that is kept for the next one goes back to the system.
  static constexpr std::chrono::seconds kIdleAfter{2};

  void start_lane();
  void wait_for_work(std::unique_lock<std::mutex>& lock, uint64_t generation);
  void run_lane(uint64_t generation, int threads);

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Strand>> ready_;
  ExecutorShape shape_;
  uint64_t generation_ = 0;  // lanes of an earlier generation end
  int started_ = 0;
  size_t waiting_ = 0;
  size_t running_ = 0;
};

}  // namespace prudent::binding
