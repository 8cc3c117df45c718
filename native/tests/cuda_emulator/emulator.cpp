#include <setjmp.h>
#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "cuda_runtime.h"

namespace prudent::cuda_emulator {

dim3 grid_size, block_size, block, thread;

namespace {

constexpr size_t kStack = 128 * 1024;
constexpr unsigned kWarpThreads = 32;

struct Fiber {
  ucontext_t first;  // how it begins; from then on it is left and entered by jumps, which need no system call
  jmp_buf place;
  std::unique_ptr<char[]> stack;
  bool begun = false, done = false;
  unsigned exchanges = 0;  // numbers that it has shown to its warp
};

// Threads that wait for each other: a warp or the whole block.
struct Barrier {
  unsigned living = 0;
  std::vector<unsigned> waiting;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<unsigned> ready;
std::vector<Barrier> barriers;  // the block's, then those of its warps
std::vector<uint64_t> slots;    // two for each thread, used in turn
jmp_buf scheduler;
const std::function<void()>* running = nullptr;

Barrier& block_of_threads() { return barriers[0]; }
Barrier& warp_of(unsigned index) { return barriers[1 + index / kWarpThreads]; }

void release(Barrier& barrier) {
  ready.insert(ready.end(), barrier.waiting.begin(), barrier.waiting.end());
  barrier.waiting.clear();
}

// Threads that have ended are not waited for, as on the device.
void leave(Barrier& barrier) {
  if (--barrier.living > 0 && barrier.waiting.size() == barrier.living) release(barrier);
}

void fiber_main(unsigned index) {
  (*running)();
  fibers[index]->done = true;
  leave(block_of_threads());
  leave(warp_of(index));
  _longjmp(scheduler, 1);
}

void start(unsigned index) {
  if (index >= fibers.size()) {
    fibers.push_back(std::make_unique<Fiber>());
    fibers.back()->stack = std::make_unique<char[]>(kStack);
  }
  Fiber& fiber = *fibers[index];
  fiber.begun = fiber.done = false;
  fiber.exchanges = 0;
  ++block_of_threads().living;
  ++warp_of(index).living;
  ready.push_back(index);
}

void enter(unsigned index) {
  Fiber& fiber = *fibers[index];
  thread = dim3(index, 0, 0);
  if (_setjmp(scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.place, 1);
  fiber.begun = true;
  getcontext(&fiber.first);
  fiber.first.uc_stack.ss_sp = fiber.stack.get();
  fiber.first.uc_stack.ss_size = kStack;
  fiber.first.uc_link = nullptr;
  makecontext(&fiber.first, reinterpret_cast<void (*)()>(fiber_main), 1, index);
  setcontext(&fiber.first);
}

void wait_at(Barrier& barrier) {
  const unsigned index = thread.x;
  barrier.waiting.push_back(index);
  if (barrier.waiting.size() == barrier.living) release(barrier);
  if (_setjmp(fibers[index]->place) == 0) _longjmp(scheduler, 1);
}

// Another order of the threads for another PRUDENT_CUDA_EMULATOR_SEED.
unsigned seed() {
  const char* text = std::getenv("PRUDENT_CUDA_EMULATOR_SEED");
  return text == nullptr ? 1 : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

void run_block(std::mt19937& random) {
  barriers.assign(1 + (block_size.x + kWarpThreads - 1) / kWarpThreads, {});
  ready.clear();
  for (unsigned i = 0; i < block_size.x; ++i) start(i);
  while (!ready.empty()) {
    std::swap(ready[random() % ready.size()], ready.back());
    const unsigned next = ready.back();
    ready.pop_back();
    enter(next);
  }
  if (block_of_threads().living > 0) throw std::runtime_error("the threads of a block wait for each other for ever");
}

}  // namespace

void block_barrier() { wait_at(block_of_threads()); }
void warp_barrier() { wait_at(warp_of(thread.x)); }

uint64_t* exchange_slots() { return slots.data() + (fibers[thread.x]->exchanges++ % 2) * block_size.x; }

void run(dim3 grid, unsigned threads, const std::function<void()>& body) {
  static std::mt19937 random(seed());
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
    throw std::runtime_error("a launch that a GPU refuses");
  }
  grid_size = grid;
  block_size = dim3(threads);
  slots.assign(2 * threads, 0);
  running = &body;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        block = dim3(x, y, z);
        run_block(random);
      }
    }
  }
}

}  // namespace prudent::cuda_emulator
