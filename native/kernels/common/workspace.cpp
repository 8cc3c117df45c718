#include "kernels/common/workspace.h"

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <new>

namespace prudent::kernels {

namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

constexpr std::size_t kPage = 4096, kHugePage = std::size_t{2} << 20;

struct Workspace {
  std::unique_ptr<void, Free> memory;
  std::size_t bytes = 0;
};

void* at_least(Workspace& workspace, std::size_t bytes) {
  if (workspace.bytes < bytes) {
    workspace.memory.reset();
    workspace.bytes = 0;
    workspace.memory.reset(take_pages(bytes));
    workspace.bytes = bytes;
  }
  return workspace.memory.get();
}

}  // namespace

void* take_pages(std::size_t bytes) {
  const std::size_t page = bytes > kHugePage / 2 ? kHugePage : kPage, rounded = (bytes + page - 1) / page * page;
  void* const memory = std::aligned_alloc(page, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  if (page == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: without them it is slower, no more
  return memory;
}

void* thread_workspace(std::size_t bytes) {
  thread_local Workspace workspace;
  return at_least(workspace, bytes);
}

void* shared_workspace(std::size_t bytes) {
  thread_local Workspace workspace;
  return at_least(workspace, bytes);
}

}  // namespace prudent::kernels
