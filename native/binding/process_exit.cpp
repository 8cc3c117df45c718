#include "binding/process_exit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

namespace prudent::binding {
namespace {

constexpr auto kGrace = std::chrono::milliseconds(500);

struct Jobs {
  std::mutex mutex;
  std::condition_variable changed;
  std::multiset<std::shared_ptr<CancelToken>> running;
  std::optional<std::chrono::steady_clock::time_point> deadline;  // set once the process ends
};

// Process-wide by nature, and never destroyed: lanes may reach it until the very end.
Jobs& jobs() {
  static auto* const instance = new Jobs;
  return *instance;
}

// Cancels what runs and gives it a moment to reach its next poll. -> whether nothing runs any more
bool stop_running() {
  Jobs& all = jobs();
  std::unique_lock lock(all.mutex);
  if (!all.deadline) all.deadline = std::chrono::steady_clock::now() + kGrace;
  for (const auto& token : all.running) token->cancel();
  return all.changed.wait_until(lock, *all.deadline, [&] { return all.running.empty(); });
}

// A job that takes longer than that must not see static destruction: the process ends on the spot, with the status it was about
// to end with.
void at_exit(int status, void*) {
  if (stop_running()) return;
  std::fflush(nullptr);
  _exit(status);
}

// What a backward uses (autograd's engine, the hooks of accelerators) would register its end at the first one: after a job's
// handler, and so before it in turn. A thread that never loaded the addon may end the process during that very backward, so one
// is run here, of a single number.
int register_first() {
  const c10::AutoGradMode with_gradients(true);
  at::ones({1}).set_requires_grad(true).mul(2).sum().backward();
  return on_exit(at_exit, nullptr);
}

}  // namespace

void ProcessExit::come_first() { on_exit(at_exit, nullptr); }

void ProcessExit::prepare() {
  stop_running();
  come_first();
}

ProcessExit::Running::Running(std::shared_ptr<CancelToken> token) : token_(std::move(token)) {
  {
    Jobs& all = jobs();
    std::unique_lock lock(all.mutex);
    if (all.deadline) {
      lock.unlock();
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));  // nothing new begins: exit takes this thread with it
    }
    all.running.insert(token_);
  }
  // Counted as running by now: the process may be ending at this very moment, and must not pull the ground from under it.
  static const int registered = register_first();
  static_cast<void>(registered);
}

ProcessExit::Running::~Running() {
  Jobs& all = jobs();
  const std::lock_guard lock(all.mutex);
  all.running.erase(all.running.find(token_));
  all.changed.notify_all();
}

}  // namespace prudent::binding
