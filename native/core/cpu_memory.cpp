#include "core/cpu_memory.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace prudent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSmallest = size_t{256} << 10;
constexpr size_t kUnit = size_t{64} << 10;
constexpr size_t kSegment = size_t{1} << 30;
constexpr size_t kSlack = size_t{64} << 20;
constexpr std::chrono::seconds kUnusedFor{5};

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Address space, without memory behind it yet; null when the system refuses (it refuses what it could never back). No huge pages:
// measured, they make no kernel faster here, and getting them together costs more than the faults that they save.
char* reserve(size_t bytes) {
  void* const mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapping == MAP_FAILED ? nullptr : static_cast<char*>(mapping);
}

// Free ranges of the address space, which merge with free neighbours of their kind: those that still hold their pages (kept), and
// those without (bare).
class FreeRanges {
 public:
  struct Range {
    char* begin;
    size_t bytes;
    Clock::time_point since;  // the last time that a part of it was given back
  };

  [[nodiscard]] size_t bytes() const { return bytes_; }

  void add(Range range) {
    bytes_ += range.bytes;
    auto next = by_address_.lower_bound(range.begin);
    if (next != by_address_.end() && range.begin + range.bytes == next->second.begin) {
      range = {range.begin, range.bytes + next->second.bytes, std::max(range.since, next->second.since)};
      next = forget(next);
    }
    if (next != by_address_.begin()) {
      const auto before = std::prev(next);
      if (before->second.begin + before->second.bytes == range.begin) {
        range = {before->second.begin, before->second.bytes + range.bytes, std::max(range.since, before->second.since)};
        forget(before);
      }
    }
    note(range);
  }

  // The front of the smallest range that is large enough; null when there is none.
  char* take(size_t bytes) {
    const auto found = by_size_.lower_bound({bytes, nullptr});
    if (found == by_size_.end()) return nullptr;
    const auto at = by_address_.find(found->second);
    Range rest = at->second;
    char* const begin = rest.begin;
    forget(at);
    rest.begin += bytes;
    rest.bytes -= bytes;
    if (rest.bytes > 0) note(rest);
    bytes_ -= bytes;
    return begin;
  }

  // Takes out the range that has waited longest; there must be one.
  Range take_oldest() {
    const auto oldest = std::min_element(by_address_.begin(), by_address_.end(),
                                         [](const auto& a, const auto& b) { return a.second.since < b.second.since; });
    const Range range = oldest->second;
    forget(oldest);
    bytes_ -= range.bytes;
    return range;
  }

  [[nodiscard]] bool has_older_than(Clock::time_point time) const {
    return std::any_of(by_address_.begin(), by_address_.end(), [&](const auto& entry) { return entry.second.since < time; });
  }

 private:
  using ByAddress = std::map<char*, Range>;

  void note(const Range& range) {
    by_address_.emplace(range.begin, range);
    by_size_.emplace(range.bytes, range.begin);
  }
  ByAddress::iterator forget(ByAddress::iterator at) {
    by_size_.erase({at->second.bytes, at->second.begin});
    return by_address_.erase(at);
  }

  ByAddress by_address_;
  std::set<std::pair<size_t, char*>> by_size_;
  size_t bytes_ = 0;
};

class BlockCache {
 public:
  // Null when the system has no more.
  void* take(size_t wanted) {
    const size_t bytes = round_up(wanted, kUnit);
    const std::lock_guard lock(mutex_);
    most_used_ = std::max(most_used_, used_ + bytes);
    char* data = kept_.take(bytes);
    if (data == nullptr) data = take_bare(bytes);
    if (data == nullptr) return nullptr;
    used_ += bytes;
    in_use_.emplace(data, bytes);
    return data;
  }

  // False when the memory is not a block of this cache.
  bool give_back(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = in_use_.find(data);
    if (found == in_use_.end()) return false;
    const auto now = Clock::now();
    used_ -= found->second;
    kept_.add({static_cast<char*>(data), found->second, now});
    in_use_.erase(found);
    if (now - swept_ > kUnusedFor) {
      swept_ = now;
      while (kept_.has_older_than(now - kUnusedFor)) drop_oldest();
    }
    return true;
  }

  void release_all() {
    const std::lock_guard lock(mutex_);
    while (kept_.bytes() > 0) drop_oldest();
    most_used_ = used_;
  }

  CpuMemory memory() {
    const std::lock_guard lock(mutex_);
    return {static_cast<int64_t>(used_), static_cast<int64_t>(most_used_), static_cast<int64_t>(kept_.bytes()), fresh_};
  }

 private:
  // A range whose pages will have to be faulted in; kept ones make room for it.
  char* take_bare(size_t bytes) {
    while (kept_.bytes() > 0 && used_ + bytes + kept_.bytes() > most_used_ + kSlack) drop_oldest();
    char* data = bare_.take(bytes);
    if (data == nullptr) {
      size_t reserved = std::max(kSegment, bytes);
      char* segment = reserve(reserved);
      if (segment == nullptr) segment = reserve(reserved = bytes);  // a limit on the address space, perhaps
      if (segment == nullptr) return nullptr;
      bare_.add({segment, reserved, {}});
      data = bare_.take(bytes);
    }
    fresh_ += static_cast<int64_t>(bytes);
    return data;
  }

  void drop_oldest() {
    const FreeRanges::Range range = kept_.take_oldest();
    madvise(range.begin, range.bytes, MADV_DONTNEED);
    bare_.add(range);
  }

  std::mutex mutex_;
  FreeRanges kept_, bare_;
  std::unordered_map<void*, size_t> in_use_;
  size_t used_ = 0, most_used_ = 0;
  int64_t fresh_ = 0;
  Clock::time_point swept_ = Clock::now();
};

// Never destroyed: tensors of other static objects may be freed after it would have been.
BlockCache& cache() {
  static BlockCache* const instance = new BlockCache;
  return *instance;
}

void give_back(void* data) {
  if (data != nullptr && !cache().give_back(data)) c10::GetDefaultCPUAllocator()->raw_deleter()(data);
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes >= kSmallest) {
      if (void* const data = cache().take(bytes)) return {data, data, &give_back, at::Device(at::kCPU)};
    }
    return c10::GetDefaultCPUAllocator()->allocate(bytes);  // which has the error message
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

}  // namespace

void install_cpu_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* const setting = std::getenv("PRUDENT_CPU_CACHE");
    if (setting != nullptr && std::strcmp(setting, "0") == 0) return;
    c10::SetCPUAllocator(new CachingAllocator, /*priority=*/1);
  });
}

CpuMemory cpu_memory() { return cache().memory(); }

void release_free_cpu_memory() { cache().release_all(); }

}  // namespace prudent
