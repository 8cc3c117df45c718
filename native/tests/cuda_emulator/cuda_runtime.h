// Enough of CUDA's language and run time to execute the kernels of *_cuda.cu on the CPU, thread by thread, so that their tests
// run where there is no GPU. Threads of a block are fibers that give way at barriers and warp exchanges; who goes on next is
// drawn at random (seeded), so that a forgotten barrier shows. One block at a time; no speed is meant.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>

#include <math.h>

#define PRUDENT_EMULATE_CUDA 1
#define __shared__ static  // blocks run one after another: what the one before left there is what real memory could hold
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
using cudaStream_t = void*;

namespace prudent::cuda_emulator {

extern dim3 grid_size, block_size, block, thread;

void run(dim3 grid, unsigned threads, const std::function<void()>& body);
void block_barrier();
void warp_barrier();
// 8 bytes for every thread of the block, in which it shows a number to its warp. Two sets in turn: a lane may be at its next
// exchange while another still reads.
uint64_t* exchange_slots();

template <typename Number>
Number exchange(Number value, unsigned with_lane) {
  static_assert(sizeof(Number) <= sizeof(uint64_t));
  const unsigned first_lane = thread.x / 32 * 32;
  uint64_t* slots = exchange_slots();
  std::memcpy(slots + thread.x, &value, sizeof value);
  warp_barrier();
  if (first_lane + with_lane < block_size.x) std::memcpy(&value, slots + first_lane + with_lane, sizeof value);
  return value;
}

template <typename Number>
Number fetch_add(Number* to, Number value) {
  const Number before = *to;
  *to += value;
  return before;
}

}  // namespace prudent::cuda_emulator

#define gridDim ::prudent::cuda_emulator::grid_size
#define blockDim ::prudent::cuda_emulator::block_size
#define blockIdx ::prudent::cuda_emulator::block
#define threadIdx ::prudent::cuda_emulator::thread

inline void __syncthreads() { ::prudent::cuda_emulator::block_barrier(); }
inline void __syncwarp() { ::prudent::cuda_emulator::warp_barrier(); }
template <typename Number>
Number __shfl_xor_sync(unsigned, Number value, int mask) {
  return ::prudent::cuda_emulator::exchange(value, threadIdx.x % 32 ^ static_cast<unsigned>(mask));
}
template <typename Number>
Number __shfl_sync(unsigned, Number value, int lane) {
  return ::prudent::cuda_emulator::exchange(value, static_cast<unsigned>(lane));
}
template <typename Number>
Number __shfl_down_sync(unsigned, Number value, int by) {
  const unsigned lane = threadIdx.x % 32 + static_cast<unsigned>(by);
  return ::prudent::cuda_emulator::exchange(value, lane < 32 ? lane : threadIdx.x % 32);
}
template <typename Number>
Number __shfl_up_sync(unsigned, Number value, int by) {
  const unsigned lane = threadIdx.x % 32;
  return ::prudent::cuda_emulator::exchange(value, lane < static_cast<unsigned>(by) ? lane : lane - static_cast<unsigned>(by));
}
inline unsigned atomicAdd(unsigned* to, unsigned value) { return ::prudent::cuda_emulator::fetch_add(to, value); }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) {
  return ::prudent::cuda_emulator::fetch_add(to, value);
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }

namespace prudent::kernels {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, void*, const Arguments&... arguments) {
  cuda_emulator::run(grid, threads, [&] { kernel(arguments...); });
}

}  // namespace prudent::kernels
