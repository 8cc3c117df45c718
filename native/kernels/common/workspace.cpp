#include "kernels/common/workspace.h"

#include <cstdlib>
#include <memory>
#include <new>

namespace prudent::kernels {

namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

struct Workspace {
  std::unique_ptr<void, Free> memory;
  std::size_t bytes = 0;
};

void* at_least(Workspace& workspace, std::size_t bytes) {
  if (workspace.bytes < bytes) {
    const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
    workspace.memory.reset();
    workspace.bytes = 0;
    workspace.memory.reset(std::aligned_alloc(4096, rounded));
    if (workspace.memory == nullptr) throw std::bad_alloc();
    workspace.bytes = rounded;
  }
  return workspace.memory.get();
}

}  // namespace

void* thread_workspace(std::size_t bytes) {
  thread_local Workspace workspace;
  return at_least(workspace, bytes);
}

void* shared_workspace(std::size_t bytes) {
  thread_local Workspace workspace;
  return at_least(workspace, bytes);
}

}  // namespace prudent::kernels
