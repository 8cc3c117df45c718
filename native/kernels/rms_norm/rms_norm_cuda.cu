#include "kernels/common/column_sums.cuh"
#include "kernels/rms_norm/rms_norm_kernel.h"

namespace prudent::kernels {

namespace {

// One block a token. The second look at the row finds it in the first-level cache.
template <int kItems, typename T>
__global__ void forward(RmsNormForward args) {
  __shared__ float shared[kCudaWarps];
  const int64_t t = blockIdx.x, step = static_cast<int64_t>(blockDim.x) * kItems;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  const T* weight = static_cast<const T*>(args.weight);
  T* y = static_cast<T*>(args.y) + t * args.hidden;
  float sum = 0.0f, row[kItems], gain[kItems];
  for (int64_t j = threadIdx.x * kItems; j < args.hidden; j += step) {
    load<kItems>(x + j, row);
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum += row[i] * row[i];
  }
  const float rstd = rsqrtf(block_reduce(sum, shared, Sum()) / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) args.rstd[t] = rstd;
  for (int64_t j = threadIdx.x * kItems; j < args.hidden; j += step) {
    load<kItems>(x + j, row);
    load<kItems>(weight + j, gain);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const float normalised = row[i] * rstd;
      // Llama rounds before the gain.
      row[i] = args.unit_offset ? normalised * (gain[i] + 1.0f) : round_to<T>(normalised) * gain[i];
    }
    store<kItems>(y + j, row);
  }
}

// What a thread keeps of the gain's gradient in registers, in packs; a longer row adds up in memory.
constexpr int kHeld = 4;

template <int kItems, typename T>
struct BackwardRow {
  const T *x, *grad_y, *weight;
  T* grad_x;
  float rstd, offset;

  // dot(grad_y * gain, normalised x) of a pack
  __device__ __forceinline__ float dot(int64_t j) const {
    float a[kItems], g[kItems], w[kItems], sum = 0.0f;
    load<kItems>(x + j, a);
    load<kItems>(grad_y + j, g);
    load<kItems>(weight + j, w);
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum += g[i] * (w[i] + offset) * a[i] * rstd;
    return sum;
  }
  // Writes grad_x of a pack and adds to its part of the gain's gradient.
  __device__ __forceinline__ void finish(int64_t j, float mean, float (&grad_weight)[kItems]) const {
    float a[kItems], g[kItems], w[kItems];
    load<kItems>(x + j, a);
    load<kItems>(grad_y + j, g);
    load<kItems>(weight + j, w);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const float normalised = a[i] * rstd;
      grad_weight[i] += g[i] * normalised;
      a[i] = rstd * (g[i] * (w[i] + offset) - normalised * mean);
    }
    store<kItems>(grad_x + j, a);
  }
};

// One block for kRmsNormCudaBlock tokens: both gradients from one reading of x and grad_y.
template <int kItems, typename T>
__global__ void backward(RmsNormBackward args) {
  __shared__ float shared[kCudaWarps];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRmsNormCudaBlock;
  const int64_t last = first + kRmsNormCudaBlock < args.tokens ? first + kRmsNormCudaBlock : args.tokens;
  const int64_t step = static_cast<int64_t>(blockDim.x) * kItems, start = threadIdx.x * kItems;
  float* partial = args.partial + static_cast<int64_t>(blockIdx.x) * args.hidden;
  float held[kHeld][kItems] = {};
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * args.hidden;
    const BackwardRow<kItems, T> row{static_cast<const T*>(args.x) + at,
                                     static_cast<const T*>(args.grad_y) + at,
                                     static_cast<const T*>(args.weight),
                                     static_cast<T*>(args.grad_x) + at,
                                     args.rstd[t],
                                     args.unit_offset ? 1.0f : 0.0f};
    float sum = 0.0f;
    for (int64_t j = start; j < args.hidden; j += step) sum += row.dot(j);
    const float mean = block_reduce(sum, shared, Sum()) / static_cast<float>(args.hidden);
#pragma unroll
    for (int p = 0; p < kHeld; ++p) {
      if (start + p * step < args.hidden) row.finish(start + p * step, mean, held[p]);
    }
    for (int64_t j = start + kHeld * step; j < args.hidden; j += step) {
      float sums[kItems] = {};
      if (t > first) load<kItems>(partial + j, sums);
      row.finish(j, mean, sums);
      store<kItems>(partial + j, sums);
    }
  }
#pragma unroll
  for (int p = 0; p < kHeld; ++p) {
    if (start + p * step < args.hidden) store<kItems>(partial + start + p * step, held[p]);
  }
}

template <typename T>
void run(const RmsNormForward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const unsigned tokens = static_cast<unsigned>(args.tokens);
  if (can_pack<kItems>(args.hidden, static_cast<const T*>(args.x), static_cast<const T*>(args.weight),
                       static_cast<const T*>(args.y))) {
    launch(forward<kItems, T>, tokens, row_threads(args.hidden / kItems), stream, args);
  } else {
    launch(forward<1, T>, tokens, row_threads(args.hidden), stream, args);
  }
}

template <typename T>
void run(const RmsNormBackward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const int64_t blocks = (args.tokens + kRmsNormCudaBlock - 1) / kRmsNormCudaBlock;
  const unsigned grid = static_cast<unsigned>(blocks);
  if (grid > 0 && args.hidden > 0) {
    if (can_pack<kItems>(args.hidden, static_cast<const T*>(args.x), static_cast<const T*>(args.weight),
                         static_cast<const T*>(args.grad_y), static_cast<const T*>(args.grad_x))) {
      launch(backward<kItems, T>, grid, row_threads(args.hidden / kItems), stream, args);
    } else {
      launch(backward<1, T>, grid, row_threads(args.hidden), stream, args);
    }
  }
  column_sums<T>(args.partial, blocks, args.hidden, args.hidden, args.grad_weight, stream);
}

}  // namespace

void rms_norm_forward_cuda(const RmsNormForward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

void rms_norm_backward_cuda(const RmsNormBackward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
