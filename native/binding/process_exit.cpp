#include "binding/process_exit.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

namespace prudent::binding {
namespace {

constexpr auto kGrace = std::chrono::milliseconds(500);

struct Jobs {
  std::mutex mutex;
  std::condition_variable changed;
  std::multiset<std::shared_ptr<CancelToken>> running;
  bool closing = false;
};

// Process-wide by nature, and never destroyed: lanes may reach it until the very end.
Jobs& jobs() {
  static auto* const instance = new Jobs;
  return *instance;
}

// Cancels what runs and gives it a moment to reach its next poll. A job that takes longer than that must not see static
// destruction: the process ends on the spot, with the status it was about to end with.
void at_exit(int status, void*) {
  Jobs& all = jobs();
  std::unique_lock lock(all.mutex);
  all.closing = true;
  for (const auto& token : all.running) token->cancel();
  if (!all.changed.wait_for(lock, kGrace, [&] { return all.running.empty(); })) {
    std::fflush(nullptr);
    _exit(status);
  }
}

}  // namespace

ProcessExit::Running::Running(std::shared_ptr<CancelToken> token) : token_(std::move(token)) {
  static const int registered = on_exit(at_exit, nullptr);
  static_cast<void>(registered);
  Jobs& all = jobs();
  std::unique_lock lock(all.mutex);
  if (all.closing) {
    lock.unlock();
    while (true) std::this_thread::sleep_for(std::chrono::seconds(1));  // nothing new begins: exit takes this thread with it
  }
  all.running.insert(token_);
}

ProcessExit::Running::~Running() {
  Jobs& all = jobs();
  const std::lock_guard lock(all.mutex);
  all.running.erase(all.running.find(token_));
  all.changed.notify_all();
}

}  // namespace prudent::binding
