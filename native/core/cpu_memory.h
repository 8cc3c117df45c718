// Memory of large CPU tensors, kept for the next tensor instead of going back to the system: a training step frees and takes the
// same gigabyte again and again, and a page that is new costs more to fault in and clear than most kernels spend on it.
//   - Blocks of 256 KiB and more, mapped straight from the system; smaller ones are left to libtorch's own allocator.
//   - What is held, in use and kept, never exceeds the most that was in use at once by more than 64 MiB.
//   - A block that nobody took for five seconds goes back; an idle executor and a failed allocation give all of them back.
// PRUDENT_CPU_CACHE=0 in the environment leaves libtorch's allocator in place.
#pragma once

#include <cstdint>

namespace prudent {

// Makes it the allocator of the libtorch that this library is linked to, of which a host process may have others. Call before
// other threads make tensors; only the first call counts.
void install_cpu_allocator();

struct CpuMemory {
  int64_t used = 0;    // bytes of large blocks in use
  int64_t kept = 0;    // bytes of free blocks
  int64_t mapped = 0;  // blocks mapped from the system since the start
};
CpuMemory cpu_memory();

// Gives every free block back to the system.
void release_free_cpu_memory();

}  // namespace prudent
