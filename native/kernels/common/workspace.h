// Scratch memory of the calling thread that kernels keep from call to call: fresh pages cost more than the packing that fills
// them. Grows as needed, freed with the thread; not for anything that outlives the kernel's own loop body.
#pragma once

#include <cstddef>

namespace prudent::kernels {

// At least `bytes` bytes, aligned to 64. The same memory at every call of a thread: one user at a time.
void* thread_workspace(std::size_t bytes);

// The same for what a parallel loop's threads share, taken by the thread that starts the loop.
void* shared_workspace(std::size_t bytes);

// Memory to be freed with std::free, in huge pages where it is large and the system has them: tiles are read from many pages at
// once, and looking up the small ones takes a tenth of a product's time. Throws std::bad_alloc.
void* take_pages(std::size_t bytes);

}  // namespace prudent::kernels
