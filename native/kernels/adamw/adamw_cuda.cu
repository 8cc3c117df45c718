#include "kernels/adamw/adamw_kernel.h"
#include "kernels/adamw/adamw_math.h"
#include "kernels/common/cuda_support.cuh"

namespace prudent::kernels {

namespace {

// 16 bytes of bfloat16, two times 16 of fp32.
constexpr int kItems = 8;

struct RootOf {
  __device__ float operator()(float x) const { return sqrtf(x); }
};

template <int kCount, typename P, typename G>
__device__ __forceinline__ void update(const AdamwArgs& args, const AdamwEntry& entry, float keep, int64_t at) {
  P* parameter = static_cast<P*>(entry.parameter) + at;
  float p[kCount], g[kCount], m[kCount], v[kCount];
  load<kCount>(static_cast<const G*>(entry.gradient) + at, g);
  load<kCount>(entry.moment1 + at, m);
  load<kCount>(entry.moment2 + at, v);
  if (entry.master == nullptr) {
    load<kCount>(parameter, p);
  } else {
    load<kCount>(entry.master + at, p);
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const AdamwItem<float> item = adamw_update<float>(args, keep, {p[i], m[i], v[i]}, g[i], RootOf());
    p[i] = item.parameter;
    m[i] = item.moment1;
    v[i] = item.moment2;
  }
  store<kCount>(entry.moment1 + at, m);
  store<kCount>(entry.moment2 + at, v);
  if (entry.master != nullptr) store<kCount>(entry.master + at, p);
  store<kCount>(parameter, p);
}

template <typename P, typename G>
__device__ __forceinline__ void update_chunk(const AdamwArgs& args, const AdamwEntry& entry, int64_t begin, int64_t end) {
  const float keep = adamw_keep(args, entry);
  const int64_t packed = entry.packs ? begin + (end - begin) / kItems * kItems : begin;
  for (int64_t at = begin + threadIdx.x * kItems; at < packed; at += kCudaThreads * kItems) {
    update<kItems, P, G>(args, entry, keep, at);
  }
  for (int64_t at = packed + threadIdx.x; at < end; at += kCudaThreads) update<1, P, G>(args, entry, keep, at);
}

// One block a chunk, whichever parameter it belongs to.
__global__ void update_all(AdamwArgs args) {
  const int64_t chunk = blockIdx.x;
  const AdamwEntry entry = args.entries[adamw_entry_of(args, chunk)];
  const int64_t begin = (chunk - entry.first_chunk) * kAdamwChunk;
  const int64_t end = begin + kAdamwChunk < entry.count ? begin + kAdamwChunk : entry.count;
  if (entry.parameter_bf16) {
    if (entry.gradient_bf16) {
      update_chunk<__nv_bfloat16, __nv_bfloat16>(args, entry, begin, end);
    } else {
      update_chunk<__nv_bfloat16, float>(args, entry, begin, end);
    }
  } else if (entry.gradient_bf16) {
    update_chunk<float, __nv_bfloat16>(args, entry, begin, end);
  } else {
    update_chunk<float, float>(args, entry, begin, end);
  }
}

}  // namespace

void adamw_run_cuda(const AdamwArgs& args, void* stream) {
  launch(update_all, static_cast<unsigned>(args.chunk_count), kCudaThreads, stream, args);
}

}  // namespace prudent::kernels
