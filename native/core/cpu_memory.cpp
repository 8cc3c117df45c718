#include "core/cpu_memory.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace prudent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSmallest = size_t{256} << 10;
constexpr size_t kPage = size_t{64} << 10;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSlack = size_t{64} << 20;
constexpr std::chrono::seconds kUnusedFor{5};

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

// At most an eighth more than asked for: batches of nearly the same number of tokens can use each other's blocks.
size_t rounded(size_t bytes) {
  const size_t step = std::max(kPage, std::bit_floor(bytes) / 8);
  return (bytes + step - 1) / step * step;
}

// Blocks of huge pages begin on one: a fault then brings in 2 MiB, and a sweep over a weight misses the TLB 512 times less.
void* map_block(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kPage;
  const size_t total = bytes + alignment;
  void* const mapping = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapping);
  const size_t ahead = (alignment - reinterpret_cast<uintptr_t>(begin) % alignment) % alignment;
  if (ahead > 0) munmap(begin, ahead);
  if (alignment > ahead) munmap(begin + ahead + bytes, alignment - ahead);
  if (alignment == kHugePage) madvise(begin + ahead, bytes, MADV_HUGEPAGE);  // a hint: refused where the system has none
  return begin + ahead;
}

void unmap(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) munmap(block.data, block.bytes);
}

class BlockCache {
 public:
  // Null when the system has no more.
  void* take(size_t wanted) {
    const size_t bytes = rounded(wanted);
    if (void* const data = take_free(bytes)) return data;
    void* data = map_block(bytes);
    if (data == nullptr) {
      release_all();
      data = map_block(bytes);
    }
    const std::lock_guard lock(mutex_);
    if (data == nullptr) {
      used_ -= bytes;
      return nullptr;
    }
    ++mapped_;
    in_use_.emplace(data, bytes);
    return data;
  }

  // False when the memory is not a block of this cache.
  bool give_back(void* data) {
    std::vector<Block> old;
    {
      const std::lock_guard lock(mutex_);
      const auto found = in_use_.find(data);
      if (found == in_use_.end()) return false;
      const size_t bytes = found->second;
      in_use_.erase(found);
      used_ -= bytes;
      kept_ += bytes;
      const auto now = Clock::now();
      free_.emplace(bytes, FreeBlock{data, now});
      if (now - swept_ > kUnusedFor) {
        swept_ = now;
        old = remove_unused_since(now - kUnusedFor);
      }
    }
    unmap(old);
    return true;
  }

  void release_all() {
    std::vector<Block> blocks;
    {
      const std::lock_guard lock(mutex_);
      blocks = remove_unused_since(Clock::time_point::max());
      most_used_ = used_;
    }
    unmap(blocks);
  }

  CpuMemory memory() {
    const std::lock_guard lock(mutex_);
    return {static_cast<int64_t>(used_), static_cast<int64_t>(kept_), mapped_};
  }

 private:
  struct FreeBlock {
    void* data;
    Clock::time_point since;
  };
  using FreeBlocks = std::multimap<size_t, FreeBlock>;  // by size

  // The smallest free block that is at most a quarter too large. Where there is none, books the bytes of a new one and makes
  // room for it.
  void* take_free(size_t bytes) {
    std::vector<Block> evicted;
    void* data = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto found = free_.lower_bound(bytes);
      if (found != free_.end() && found->first <= bytes + bytes / 4) {
        data = found->second.data;
        used_ += found->first;
        kept_ -= found->first;
        in_use_.emplace(data, found->first);
        free_.erase(found);
      } else {
        used_ += bytes;
      }
      most_used_ = std::max(most_used_, used_);
      evicted = evict_down_to(most_used_ + kSlack);
    }
    unmap(evicted);
    return data;
  }

  std::vector<Block> evict_down_to(size_t limit) {
    std::vector<Block> removed;
    while (used_ + kept_ > limit && !free_.empty()) {
      removed.push_back(remove(std::min_element(free_.begin(), free_.end(),
                                                [](const auto& a, const auto& b) { return a.second.since < b.second.since; })));
    }
    return removed;
  }

  std::vector<Block> remove_unused_since(Clock::time_point time) {
    std::vector<Block> removed;
    for (auto it = free_.begin(); it != free_.end();) {
      const auto candidate = it++;
      if (candidate->second.since < time) removed.push_back(remove(candidate));
    }
    return removed;
  }

  Block remove(FreeBlocks::iterator it) {
    const Block block{it->second.data, it->first};
    kept_ -= block.bytes;
    free_.erase(it);
    return block;
  }

  std::mutex mutex_;
  FreeBlocks free_;
  std::unordered_map<void*, size_t> in_use_;
  size_t used_ = 0, kept_ = 0, most_used_ = 0;
  int64_t mapped_ = 0;
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
