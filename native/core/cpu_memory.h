// Memory of large CPU tensors, kept for the next tensor instead of going back to the system: a training step frees and takes the
// same gigabyte again and again, and a page that is new costs more to fault in and clear than most kernels spend on it.
//   - Blocks of 256 KiB and more; smaller ones are left to libtorch's own allocator. Free neighbours merge, the best fit is
//   split.
//   - What is held, in use and kept, never exceeds the most that was in use at once by more than 64 MiB.
//   - Memory that nobody took for five seconds goes back to the system; an idle executor gives back all that is free. Addresses
//   stay
//     reserved, which costs nothing.
// PRUDENT_CPU_CACHE=0 in the environment leaves libtorch's allocator in place.
#pragma once

#include <cstdint>

namespace prudent {

// Makes it the allocator of the libtorch that this library is linked to, of which a host process may have others. Call before
// other threads make tensors; only the first call counts.
void install_cpu_allocator();

struct CpuMemory {
  int64_t used = 0;   // bytes of large blocks in use
  int64_t most = 0;   // the largest that `used` has been since release_free_cpu_memory()
  int64_t kept = 0;   // bytes of free memory that still holds its pages
  int64_t fresh = 0;  // bytes handed out since the start whose pages were new
};
CpuMemory cpu_memory();

// Gives all free memory back to the system.
void release_free_cpu_memory();

}  // namespace prudent
