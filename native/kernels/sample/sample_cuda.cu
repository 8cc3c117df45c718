#include "core/philox.h"
#include "kernels/common/cuda_support.cuh"
#include "kernels/sample/sample_kernel.h"
#include "kernels/sample/sample_math.h"

namespace prudent::kernels {

namespace {

using Count = unsigned long long;

constexpr int kThreads = 512;
constexpr int kBins = 256;
constexpr int kBinBits = 8;
constexpr int kIdBits = 24;
constexpr int kSegments = 128;
static_assert(kLargestSampleVocab <= int64_t{1} << kIdBits);

struct Smallest {
  template <typename Number>
  __device__ __forceinline__ Number operator()(Number a, Number b) const {
    return a < b ? a : b;
  }
};

// One row and the block that works on it.
template <typename T>
struct Row {
  const T* logits;
  int64_t vocab;
  float top, inverse_temperature;

  __device__ __forceinline__ float scaled(int64_t id) const {
    return scaled_logit(to_float(logits[id]), top, inverse_temperature);
  }
  // body(id, ordered bits, scaled logit) for the thread's share of the kept tokens.
  template <typename Body>
  __device__ __forceinline__ void each_kept(KeptTokens kept, const Body& body) const {
    for (int64_t id = threadIdx.x; id < vocab; id += kThreads) {
      const float x = scaled(id);
      const uint32_t bits = ordered_bits(x);
      if (is_kept(kept, bits, id)) body(id, bits, x);
    }
  }
};

struct Found {
  uint32_t digits;  // of the item where the sum reaches the goal
  Count rest;       // of the goal, when the item's equals are reached
  Count equals;     // sum over all items with these digits
};

// Walks items in the order of their `bits` digits, a byte at a time, to where the sum of their amounts reaches `goal`: of each
// byte a histogram says where to go on. each(body) calls body(digits, amount); descending: large digits first.
template <typename Each>
__device__ Found find_place(Count* bins, int bits, bool descending, Count goal, const Each& each) {
  Found found = {0, goal, 0};
  for (int shift = bits - kBinBits; shift >= 0; shift -= kBinBits) {
    for (int bin = threadIdx.x; bin < kBins; bin += kThreads) bins[bin] = 0;
    __syncthreads();
    const uint32_t prefix = found.digits;
    each([&](uint32_t digits, Count amount) {
      const uint32_t above = shift + kBinBits < 32 ? digits >> (shift + kBinBits) : 0;
      if (amount > 0 && above == prefix) atomicAdd(bins + (digits >> shift & (kBins - 1)), amount);
    });
    __syncthreads();
    int bin = descending ? kBins - 1 : 0;
    const int last = descending ? 0 : kBins - 1, step = descending ? -1 : 1;
    for (; bin != last && bins[bin] < found.rest; bin += step) found.rest -= bins[bin];
    found.digits = prefix << kBinBits | static_cast<uint32_t>(bin);
    found.equals = bins[bin];
    __syncthreads();  // the bins are emptied next
  }
  return found;
}

template <typename T>
__device__ KeptTokens keep_top_k(const Row<T>& row, Count k, Count* bins) {
  const KeptTokens all = {0, row.vocab};
  const Found found = find_place(bins, 32, true, k, [&](const auto& add) {
    row.each_kept(all, [&](int64_t, uint32_t bits, float) { add(bits, Count{1}); });
  });
  return {found.digits, row.vocab};  // with the ties of the k-th
}

template <typename T>
__device__ KeptTokens keep_top_p(const Row<T>& row, KeptTokens kept, double top_p, Count* bins, Count* shared) {
  Count total = 0;
  row.each_kept(kept, [&](int64_t, uint32_t, float x) { total += fixed_weight(x); });
  total = block_reduce(total, shared, Sum());
  const Found found = find_place(bins, 32, true, top_p_goal(top_p, total), [&](const auto& add) {
    row.each_kept(kept, [&](int64_t, uint32_t bits, float x) { add(bits, fixed_weight(x)); });
  });
  // Of the tokens with that very logit only as many as are needed, by id.
  Count ties = 0;
  row.each_kept(kept, [&](int64_t, uint32_t bits, float) { ties += bits == found.digits ? 1 : 0; });
  ties = block_reduce(ties, shared, Sum());
  const Count weight = found.equals / ties, needed = (found.rest + weight - 1) / weight;
  if (needed >= ties) return {found.digits, row.vocab};
  const Found last = find_place(bins, kIdBits, false, needed, [&](const auto& add) {
    row.each_kept(kept, [&](int64_t id, uint32_t bits, float) {
      if (bits == found.digits) add(static_cast<uint32_t>(id), Count{1});
    });
  });
  return {found.digits, static_cast<int64_t>(last.digits)};
}

// The first id at which the running sum of the kept weights exceeds uniform * total: sums of segments first, then one warp
// walks through the segment that matters.
template <typename T>
__device__ int64_t draw(const Row<T>& row, KeptTokens kept, float uniform, Count* segments, Count* start) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t length = (row.vocab + kSegments - 1) / kSegments;
  const auto weight_of = [&](int64_t id) -> Count {
    const float x = row.scaled(id);
    return is_kept(kept, ordered_bits(x), id) ? fixed_weight(x) : 0;
  };
  for (int64_t segment = warp; segment < kSegments; segment += kThreads / kWarp) {
    const int64_t begin = segment * length, end = begin + length < row.vocab ? begin + length : row.vocab;
    Count sum = 0;
    for (int64_t id = begin + lane; id < end; id += kWarp) sum += weight_of(id);
    sum = warp_reduce(sum, Sum());
    if (lane == 0) segments[segment] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    Count total = 0;
    for (int s = 0; s < kSegments; ++s) total += segments[s];
    Count target = static_cast<Count>(static_cast<double>(uniform) * static_cast<double>(total));
    if (target >= total) target = total - 1;
    int s = 0;
    for (; segments[s] <= target; ++s) target -= segments[s];
    start[0] = static_cast<Count>(s);
    start[1] = target;
  }
  __syncthreads();
  if (warp > 0) return -1;
  const Count target = start[1];
  Count before = 0;
  for (int64_t first = static_cast<int64_t>(start[0]) * length;; first += kWarp) {
    const int64_t id = first + lane;
    Count sum = id < row.vocab ? weight_of(id) : 0;  // of this lane's token and those before it
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const Count other = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= static_cast<unsigned>(step)) sum += other;
    }
    const int64_t mine = before + sum > target ? id : INT64_MAX;
    const int64_t found = warp_reduce(mine, Smallest());
    if (found != INT64_MAX || first + kWarp >= row.vocab) return found;
    before += __shfl_sync(0xffffffffu, sum, kWarp - 1);
  }
}

template <typename T>
__device__ int64_t sample_row(const SampleArgs& args, int64_t row_index) {
  __shared__ Count bins[kBins];
  __shared__ Count shared[kThreads / kWarp];
  __shared__ Count start[2];
  const T* logits = static_cast<const T*>(args.logits) + row_index * args.vocab;
  float best = -HUGE_VALF;
  int64_t best_id = INT64_MAX;
  float broken = 0.0f;
  for (int64_t id = threadIdx.x; id < args.vocab; id += kThreads) {
    const float x = to_float(logits[id]);
    if (x != x) broken = 1.0f;
    if (x > best) {
      best = x;
      best_id = id;
    }
  }
  float* floats = reinterpret_cast<float*>(shared);
  const float top = block_reduce(best, floats, Largest());
  broken = block_reduce(broken, floats, Largest());
  if (broken > 0.0f || top - top != 0.0f) return -1;
  if (args.greedy) {
    return block_reduce(best == top ? best_id : INT64_MAX, reinterpret_cast<int64_t*>(shared), Smallest());
  }
  const Row<T> row = {logits, args.vocab, top, args.inverse_temperature};
  KeptTokens kept = {0, args.vocab};
  if (args.top_k > 0 && args.top_k < args.vocab) kept = keep_top_k(row, static_cast<Count>(args.top_k), bins);
  if (args.top_p < 1.0) kept = keep_top_p(row, kept, args.top_p, bins, shared);
  const uint64_t seed = args.device_seed == nullptr ? args.seed : static_cast<uint64_t>(*args.device_seed);
  const Philox4 random =
      philox4x32(seed, static_cast<uint64_t>(args.row_keys[row_index]), static_cast<uint64_t>(args.positions[row_index]));
  return draw(row, kept, uniform_open(random.v[0]), bins, start);
}

// Log-softmax of a token's logit as it came; NaN for a row that is broken.
template <typename T>
__device__ void write_logprob(const SampleArgs& args, int64_t row, int64_t id) {
  __shared__ double shared[kThreads / kWarp];
  const T* logits = static_cast<const T*>(args.logits) + row * args.vocab;
  float top = -HUGE_VALF;
  for (int64_t i = threadIdx.x; i < args.vocab; i += kThreads) top = Largest()(to_float(logits[i]), top);
  top = block_reduce(top, reinterpret_cast<float*>(shared), Largest());
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < args.vocab; i += kThreads) sum += expf(to_float(logits[i]) - top);
  sum = block_reduce(sum, shared, Sum());
  if (threadIdx.x > 0) return;
  args.logprobs[row] = id < 0 ? NAN : static_cast<float>(to_float(logits[id]) - top - log(sum));
}

template <typename T>
__global__ void sample_rows(SampleArgs args) {
  const int64_t id = sample_row<T>(args, blockIdx.x);
  if (threadIdx.x == 0) args.ids[blockIdx.x] = id;
  if (args.logprobs == nullptr) return;
  __syncthreads();
  write_logprob<T>(args, blockIdx.x, id);
}

}  // namespace

void sample_run_cuda(const SampleArgs& args, void* stream) {
  const unsigned rows = static_cast<unsigned>(args.rows);
  if (args.bf16) {
    launch(sample_rows<__nv_bfloat16>, rows, kThreads, stream, args);
  } else {
    launch(sample_rows<float>, rows, kThreads, stream, args);
  }
}

}  // namespace prudent::kernels
