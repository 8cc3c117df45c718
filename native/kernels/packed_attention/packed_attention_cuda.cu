// One new token a row against the cache. A key is the work of a few neighbouring lanes, kItems items of the head each; a block
// walks over the keys of one row and key/value head for all the query heads that share it, so that the cache is read once.
// Long rows are split over blocks and joined by a second kernel. Lengths are read on the device: the launch depends on nothing
// that changes from token to token, as CUDA graphs need it.
#include "kernels/common/cuda_support.cuh"
#include "kernels/common/softmax_math.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels {

namespace {

constexpr int kThreads = 128;
constexpr int kItems = 8;
static_assert(kLargestCachedHead == kWarp * kItems);

// Where a lane's items lie in the head: next to each other where 16 bytes can be moved at once, else 32 apart.
template <bool kPacked>
__device__ __forceinline__ int item_place(int lane, int i) {
  return kPacked ? lane * kItems + i : lane + kWarp * i;
}

template <bool kPacked, typename T>
__device__ __forceinline__ void read_head(const T* head, int lane, int head_dim, bool wanted, float (&to)[kItems]) {
  if (kPacked && wanted && lane * kItems < head_dim) {
    load<kItems>(head + lane * kItems, to);
    return;
  }
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int place = item_place<kPacked>(lane, i);
    to[i] = !kPacked && wanted && place < head_dim ? to_float(head[place]) : 0.0f;
  }
}

// Softmax so far under one query head, and the values that it weighs.
struct HeadState {
  float max, sum, out[kItems];

  __device__ __forceinline__ void add(float score, const float (&value)[kItems]) {
    const float larger = score > max ? score : max;
    const float kept = softmax_rescale(max, larger), weight = expf(score - larger);
    sum = sum * kept + weight;
#pragma unroll
    for (int i = 0; i < kItems; ++i) out[i] = out[i] * kept + weight * value[i];
    max = larger;
  }
};

struct Place {
  int64_t row, split, kv_head, first_head;
  int heads;           // of this block
  int64_t begin, end;  // keys
};

template <int kHeads>
__device__ __forceinline__ Place place_of_block(const CachedAttention& args) {
  const int64_t group = args.heads / args.kv_heads, blocks = (group + kHeads - 1) / kHeads;
  Place place;
  place.row = blockIdx.x;
  place.split = blockIdx.z;
  place.kv_head = blockIdx.y / blocks;
  const int64_t in_group = blockIdx.y % blocks * kHeads, left = group - in_group;
  place.first_head = place.kv_head * group + in_group;
  place.heads = left < kHeads ? static_cast<int>(left) : kHeads;
  const int64_t length = args.lengths[place.row] < args.capacity ? args.lengths[place.row] : args.capacity;
  const int64_t part = (length + args.splits - 1) / args.splits;
  place.begin = place.split * part < length ? place.split * part : length;
  place.end = place.begin + part < length ? place.begin + part : length;
  return place;
}

// The lane groups' states under one head become the block's: its output, or its part of it.
template <typename T, int kGroups>
__device__ __forceinline__ void write_head(const CachedAttention& args, const Place& place, int64_t head, const float* outs,
                                           const float* maxima, const float* sums, int width) {
  float max = maxima[0], sum = 0.0f, scales[kGroups];
#pragma unroll
  for (int g = 1; g < kGroups; ++g) max = maxima[g] > max ? maxima[g] : max;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    scales[g] = softmax_rescale(maxima[g], max);
    sum += sums[g] * scales[g];
  }
  const int64_t index = place.row * args.heads + head;
  float* part = args.partial + (place.split * args.rows * args.heads + index) * (args.head_dim + 2);
  for (int j = threadIdx.x; j < args.head_dim; j += kThreads) {
    float out = 0.0f;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) out += outs[g * width + j] * scales[g];
    if (args.splits == 1) {
      set(static_cast<T*>(args.out)[index * args.head_dim + j], out / sum);
    } else {
      part[j] = out;
    }
  }
  if (args.splits > 1 && threadIdx.x == 0) {
    part[args.head_dim] = max;
    part[args.head_dim + 1] = sum;
  }
}

// kLanes lanes a key, up to kHeads query heads.
template <typename T, int kLanes, int kHeads, bool kPacked>
__global__ void attend(CachedAttention args) {
  constexpr int kGroups = kThreads / kLanes, kWidth = kLanes * kItems;
  __shared__ float outs[kGroups * kWidth];
  __shared__ float maxima[kGroups];
  __shared__ float sums[kGroups];
  const Place place = place_of_block<kHeads>(args);
  const int lane = static_cast<int>(threadIdx.x) % kLanes, lane_group = static_cast<int>(threadIdx.x) / kLanes;
  const int head_dim = static_cast<int>(args.head_dim);
  float query[kHeads][kItems];
  HeadState states[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const T* q = static_cast<const T*>(args.q) + place.row * args.q_stride + (place.first_head + h) * args.head_dim;
    read_head<kPacked>(q, lane, head_dim, h < place.heads, query[h]);
    states[h] = {-HUGE_VALF, 0.0f, {}};
  }
  const int64_t row_start = place.row * args.cache_row_stride + place.kv_head * args.head_dim;
  const T* keys = static_cast<const T*>(args.k_cache) + row_start;
  const T* values = static_cast<const T*>(args.v_cache) + row_start;
  for (int64_t first = place.begin; first < place.end; first += kGroups) {
    const int64_t at = first + lane_group;
    const bool valid = at < place.end;  // every lane goes on to the exchange below
    float key[kItems], value[kItems];
    read_head<kPacked>(keys + at * args.cache_token_stride, lane, head_dim, valid, key);
    read_head<kPacked>(values + at * args.cache_token_stride, lane, head_dim, valid, value);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float score = 0.0f;
#pragma unroll
      for (int i = 0; i < kItems; ++i) score += query[h][i] * key[i];
      score = warp_reduce<kLanes>(score, Sum()) * args.scale;
      if (valid) states[h].add(score, value);
    }
  }
  // The heads take turns in shared memory; the loop must be unrolled for the states to stay in registers.
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (h >= place.heads) continue;  // the same for the whole block
#pragma unroll
    for (int i = 0; i < kItems; ++i) outs[lane_group * kWidth + item_place<kPacked>(lane, i)] = states[h].out[i];
    if (lane == 0) {
      maxima[lane_group] = states[h].max;
      sums[lane_group] = states[h].sum;
    }
    __syncthreads();
    write_head<T, kGroups>(args, place, place.first_head + h, outs, maxima, sums, kWidth);
    __syncthreads();
  }
}

// One block a row and head.
template <typename T>
__global__ void join(CachedAttention args) {
  const int64_t index = blockIdx.x, step = args.rows * args.heads * (args.head_dim + 2);
  const float* parts = args.partial + index * (args.head_dim + 2);
  float max = -HUGE_VALF, sum = 0.0f;
  for (int64_t s = 0; s < args.splits; ++s) {
    const float part_max = parts[s * step + args.head_dim];
    max = part_max > max ? part_max : max;
  }
  for (int64_t s = 0; s < args.splits; ++s) {
    sum += parts[s * step + args.head_dim + 1] * softmax_rescale(parts[s * step + args.head_dim], max);
  }
  for (int64_t j = threadIdx.x; j < args.head_dim; j += kThreads) {
    float out = 0.0f;
    for (int64_t s = 0; s < args.splits; ++s) {
      out += parts[s * step + j] * softmax_rescale(parts[s * step + args.head_dim], max);
    }
    set(static_cast<T*>(args.out)[index * args.head_dim + j], out / sum);
  }
}

template <typename T, int kLanes, int kHeads, bool kPacked>
void run_heads(const CachedAttention& args, void* stream) {
  const int64_t group = args.heads / args.kv_heads;
  const dim3 grid(static_cast<unsigned>(args.rows), static_cast<unsigned>(args.kv_heads * ((group + kHeads - 1) / kHeads)),
                  static_cast<unsigned>(args.splits));
  launch(attend<T, kLanes, kHeads, kPacked>, grid, kThreads, stream, args);
}

template <typename T, int kLanes, bool kPacked>
void run_lanes(const CachedAttention& args, void* stream) {
  const int64_t group = args.heads / args.kv_heads;
  if (group == 1) {
    run_heads<T, kLanes, 1, kPacked>(args, stream);
  } else if (group <= 4) {
    run_heads<T, kLanes, 4, kPacked>(args, stream);
  } else {
    run_heads<T, kLanes, kCachedHeads, kPacked>(args, stream);
  }
}

template <typename T>
void run(const CachedAttention& args, void* stream) {
  const bool packed = args.head_dim % kItems == 0 && args.q_stride % kItems == 0 && args.cache_row_stride % kItems == 0 &&
                      args.cache_token_stride % kItems == 0 &&
                      can_pack<kItems>(kItems, static_cast<const T*>(args.q), static_cast<const T*>(args.k_cache),
                                       static_cast<const T*>(args.v_cache));
  if (!packed) {
    run_lanes<T, 32, false>(args, stream);
  } else if (args.head_dim <= 8 * kItems) {
    run_lanes<T, 8, true>(args, stream);
  } else if (args.head_dim <= 16 * kItems) {
    run_lanes<T, 16, true>(args, stream);
  } else {
    run_lanes<T, 32, true>(args, stream);
  }
  if (args.splits > 1) launch(join<T>, static_cast<unsigned>(args.rows * args.heads), kThreads, stream, args);
}

}  // namespace

void attention_cached_cuda(const CachedAttention& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
