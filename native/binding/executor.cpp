#include "binding/executor.h"

#include <ATen/Parallel.h>

#include <string>
#include <thread>

#include "binding/process_exit.h"
#include "core/cpu.h"
#include "core/cpu_memory.h"
#include "core/error.h"
#include "kernels/matmul/packed_weights.h"

namespace prudent::binding {

Strand::~Strand() {
  if (!device_.is_cpu()) executor_->retire();
}

int Executor::cores() { return cpu_info().cores; }

const std::shared_ptr<Executor>& Executor::cpu() {
  static const auto* const executor = new std::shared_ptr<Executor>(std::make_shared<Executor>(ExecutorShape{1, cores()}));
  return *executor;
}

ExecutorShape Executor::shape() const {
  const std::lock_guard lock(mutex_);
  return shape_;
}

void Executor::configure(ExecutorShape shape) {
  PRUDENT_CHECK(shape.lanes >= 1, "E_RANGE", "lanes", "an integer >= 1", std::to_string(shape.lanes));
  PRUDENT_CHECK(shape.threads_per_lane >= 1, "E_RANGE", "threadsPerLane", "an integer >= 1",
                std::to_string(shape.threads_per_lane));
  PRUDENT_CHECK(static_cast<int64_t>(shape.lanes) * shape.threads_per_lane <= cores(), "E_RANGE", "lanes",
                "lanes x threadsPerLane <= " + std::to_string(cores()) + " (cores)",
                std::to_string(shape.lanes) + " x " + std::to_string(shape.threads_per_lane));
  const std::lock_guard lock(mutex_);
  PRUDENT_CHECK(waiting_ == 0 && running_ == 0, "E_BUSY", "configureExecutor", "an idle executor",
                std::to_string(running_) + " running and " + std::to_string(waiting_) + " waiting calls");
  shape_ = shape;
  ++generation_;
  started_ = 0;
  wake_.notify_all();
}

void Executor::post(const std::shared_ptr<Strand>& strand, std::shared_ptr<QueuedJob> task) {
  const std::lock_guard lock(mutex_);
  PRUDENT_CHECK(strand->waiting_.size() < kMaxWaitingPerStrand, "E_BUSY", "call",
                "at most " + std::to_string(kMaxWaitingPerStrand) + " waiting calls of one handle",
                std::to_string(strand->waiting_.size() + 1));
  PRUDENT_CHECK(waiting_ < kMaxWaiting, "E_BUSY", "call", "at most " + std::to_string(kMaxWaiting) + " waiting calls",
                std::to_string(waiting_ + 1));
  strand->waiting_.push_back(std::move(task));
  ++waiting_;
  if (!strand->active_) {
    strand->active_ = true;
    ready_.push_back(strand);
  }
  if (started_ < shape_.lanes) {
    start_lane();
  }
  wake_.notify_one();
}

bool Executor::withdraw(Strand& strand, const std::shared_ptr<QueuedJob>& task) {
  const std::lock_guard lock(mutex_);
  const size_t removed = std::erase(strand.waiting_, task);
  waiting_ -= removed;
  return removed > 0;
}

void Executor::retire() {
  const std::lock_guard lock(mutex_);
  ++generation_;
  wake_.notify_all();
}

void Executor::start_lane() {
  std::thread([self = shared_from_this(), generation = generation_, threads = shape_.threads_per_lane] {
    self->run_lane(generation, threads);
  }).detach();
  ++started_;
}

void Executor::wait_for_work(std::unique_lock<std::mutex>& lock, uint64_t generation) {
  const auto called = [&] { return !ready_.empty() || generation != generation_; };
  if (!wake_.wait_for(lock, kIdleAfter, called) && running_ == 0) {
    lock.unlock();
    kernels::release_dead_packed_weights();
    release_free_cpu_memory();
    lock.lock();
  }
  wake_.wait(lock, called);
}

void Executor::run_lane(uint64_t generation, int threads) {
  at::set_num_threads(threads);  // OpenMP keeps this per calling thread
  std::unique_lock lock(mutex_);
  while (true) {
    wait_for_work(lock, generation);
    if (generation != generation_) return;
    std::shared_ptr<Strand> strand = std::move(ready_.front());
    ready_.pop_front();
    if (!strand->waiting_.empty()) {
      std::shared_ptr<QueuedJob> task = std::move(strand->waiting_.front());
      strand->waiting_.pop_front();
      --waiting_;
      ++running_;
      lock.unlock();
      const ProcessExit::Running running(task->token);
      Deliver deliver = task->run();
      task.reset();
      lock.lock();
      --running_;
      lock.unlock();
      deliver();  // before the strand's next job begins: results arrive in the order of the calls
      deliver = nullptr;
      lock.lock();
    }
    strand->active_ = !strand->waiting_.empty();
    if (strand->active_) {
      ready_.push_back(std::move(strand));
      wake_.notify_all();
    } else {
      // The last owner of a strand may be this lane, and its destructor takes the mutex.
      lock.unlock();
      strand.reset();
      lock.lock();
    }
  }
}

}  // namespace prudent::binding
