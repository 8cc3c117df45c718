// What the CUDA kernels share: 16-byte loads and stores, number conversion, reductions in a fixed order, launches.
// No torch headers. The kernels' tests also compile them for the CPU (native/tests/cuda_emulator).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace prudent::kernels {

constexpr int kCudaThreads = 256;  // of one block, unless the row is shorter; a multiple of a warp
constexpr int kWarp = 32;
constexpr int kCudaWarps = kCudaThreads / kWarp;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void set(float& to, float x) { to = x; }
__device__ __forceinline__ void set(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }
template <typename T>
__device__ __forceinline__ float round_to(float x) {
  T rounded;
  set(rounded, x);
  return to_float(rounded);
}

// Consecutive items that one thread moves at once: 16 bytes where the rows allow it, else single items.
template <typename T>
constexpr int kPackItems = 16 / static_cast<int>(sizeof(T));
template <typename T, int kItems>
struct alignas(kItems * sizeof(T) < 16 ? kItems * sizeof(T) : 16) Pack {
  T item[kItems];
};
template <int kItems, typename T>
__device__ __forceinline__ void load(const T* from, float (&to)[kItems]) {
  const Pack<T, kItems> pack = *reinterpret_cast<const Pack<T, kItems>*>(from);
#pragma unroll
  for (int i = 0; i < kItems; ++i) to[i] = to_float(pack.item[i]);
}
template <int kItems, typename T>
__device__ __forceinline__ void store(T* to, const float (&from)[kItems]) {
  Pack<T, kItems> pack;
#pragma unroll
  for (int i = 0; i < kItems; ++i) set(pack.item[i], from[i]);
  *reinterpret_cast<Pack<T, kItems>*>(to) = pack;
}

// May rows of `items` items that begin at these addresses be moved in packs of kItems?
template <int kItems, typename... T>
bool can_pack(int64_t items, const T*... rows) {
  return items % kItems == 0 && ((reinterpret_cast<uintptr_t>(rows) % alignof(Pack<T, kItems>) == 0) && ...);
}

struct Sum {
  template <typename Number>
  __device__ __forceinline__ Number operator()(Number a, Number b) const {
    return a + b;
  }
};
struct Largest {
  template <typename Number>
  __device__ __forceinline__ Number operator()(Number a, Number b) const {
    return a > b ? a : b;
  }
};

// Over kLanes neighbouring lanes, all of the warp taking part; every lane gets the same result to the bit, as the operations are
// commutative.
template <int kLanes = kWarp, typename Number, typename Combine>
__device__ __forceinline__ Number warp_reduce(Number value, Combine combine) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

// Over the block, warps in order; every thread gets it. `shared` holds a number a warp and may be used again at once.
template <typename Number, typename Combine>
__device__ __forceinline__ Number block_reduce(Number value, Number* shared, Combine combine) {
  value = warp_reduce(value, combine);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  Number total = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) total = combine(total, shared[warp]);
  __syncthreads();
  return total;
}

// Threads of a block that works on a row of `items` things: whole warps, at most kCudaThreads.
inline unsigned row_threads(int64_t items) {
  const int64_t warps = (items + kWarp - 1) / kWarp;
  return static_cast<unsigned>(warps < 1 ? kWarp : warps > kCudaWarps ? kCudaThreads : warps * kWarp);
}
inline unsigned cuda_blocks(int64_t items, int64_t per_block = kCudaThreads) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}
inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

#ifndef PRUDENT_EMULATE_CUDA
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, void* stream, const Arguments&... arguments) {
  kernel<<<grid, threads, 0, as_stream(stream)>>>(arguments...);
}
#endif

}  // namespace prudent::kernels
