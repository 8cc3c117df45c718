#include "distributed/failure_report.h"

#include <thread>
#include <utility>

#include "core/error.h"

namespace prudent::distributed {
namespace {

constexpr std::chrono::seconds kPatience{5};  // a rank that lives writes its word within milliseconds
constexpr std::chrono::milliseconds kPause{50};
// Written by ranks that were cut off through no fault of their own.
constexpr const char* kCutOff = "-";

std::string key_of(int rank) { return "ended/" + std::to_string(rank); }

}  // namespace

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

FailureReport::FailureReport(c10::intrusive_ptr<c10d::Store> store, int rank, int size, bool launcher_holds_store)
    : store_(std::move(store)), rank_(rank), size_(size), launcher_holds_store_(launcher_holds_store) {}

void FailureReport::tell(const std::string& reason) noexcept {
  try {
    if (!std::exchange(told_, true)) store_->set(key_of(rank_), reason);
  } catch (const std::exception&) {
    // The store is gone, and with it everyone who could read this.
  }
}

bool FailureReport::is_set(const std::string& key) { return store_->check({key}); }

// Empty for a rank that was cut off itself.
std::string FailureReport::describe(int rank) {
  if (!is_set(key_of(rank))) return "rank " + std::to_string(rank) + " is gone (killed, or cut off from the network)";
  const std::string reason = store_->get_to_str(key_of(rank));
  return reason == kCutOff ? "" : "rank " + std::to_string(rank) + ": " + reason;
}

bool FailureReport::everyone_else_told() {
  for (int rank = 0; rank < size_; ++rank) {
    if (rank != rank_ && !is_set(key_of(rank))) return false;
  }
  return true;
}

void FailureReport::explain(const std::exception& error) {
  std::string ended;
  try {
    tell(kCutOff);
    for (auto until = std::chrono::steady_clock::now() + kPatience;
         !everyone_else_told() && std::chrono::steady_clock::now() < until;) {
      std::this_thread::sleep_for(kPause);
    }
    for (int rank = 0; rank < size_; ++rank) {
      const std::string description = rank == rank_ ? "" : describe(rank);
      if (!description.empty()) ended += (ended.empty() ? "" : "; ") + description;
    }
  } catch (const std::exception&) {
    ended = launcher_holds_store_ ? "the launcher's store is gone" : "rank 0, which holds the store, is gone";
  }
  if (ended.empty()) ended = first_line(error.what());
  fail("E_DISTRIBUTED", "group", std::to_string(size_) + " ranks that run", ended);
}

void FailureReport::wait_until_read() noexcept {
  if (rank_ != 0 || launcher_holds_store_) return;
  try {
    for (auto until = std::chrono::steady_clock::now() + kPatience;
         !everyone_else_told() && std::chrono::steady_clock::now() < until;) {
      std::this_thread::sleep_for(kPause);
    }
    // They have told that they were cut off; what they look up now takes no longer than this.
    std::this_thread::sleep_for(10 * kPause);
  } catch (const std::exception&) {
    // Without a store there is nothing to read.
  }
}

}  // namespace prudent::distributed
