#include "kernels/common/column_sums.cuh"
#include "kernels/layer_norm/layer_norm_kernel.h"

namespace prudent::kernels {

namespace {

// One block a token. Every later look at the row finds it in the first-level cache.
template <int kItems, typename T>
__global__ void forward(LayerNormForward args) {
  __shared__ float shared[kCudaWarps];
  const int64_t t = blockIdx.x, start = threadIdx.x * kItems, step = static_cast<int64_t>(blockDim.x) * kItems;
  const T* x = static_cast<const T*>(args.x) + t * args.hidden;
  T* y = static_cast<T*>(args.y) + t * args.hidden;
  float sum = 0.0f, squares = 0.0f, row[kItems], gain[kItems], bias[kItems];
  for (int64_t j = start; j < args.hidden; j += step) {
    load<kItems>(x + j, row);
#pragma unroll
    for (int i = 0; i < kItems; ++i) sum += row[i];
  }
  const float mean = block_reduce(sum, shared, Sum()) / static_cast<float>(args.hidden);
  for (int64_t j = start; j < args.hidden; j += step) {
    load<kItems>(x + j, row);
#pragma unroll
    for (int i = 0; i < kItems; ++i) squares += (row[i] - mean) * (row[i] - mean);
  }
  const float rstd = rsqrtf(block_reduce(squares, shared, Sum()) / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) {
    args.mean[t] = mean;
    args.rstd[t] = rstd;
  }
  for (int64_t j = start; j < args.hidden; j += step) {
    load<kItems>(x + j, row);
    load<kItems>(static_cast<const T*>(args.weight) + j, gain);
    load<kItems>(static_cast<const T*>(args.bias) + j, bias);
#pragma unroll
    for (int i = 0; i < kItems; ++i) row[i] = (row[i] - mean) * rstd * gain[i] + bias[i];
    store<kItems>(y + j, row);
  }
}

// What a thread keeps of the gradients of gain and bias in registers, in packs; a longer row adds up in memory.
constexpr int kHeld = 4;

template <int kItems, typename T>
struct BackwardRow {
  const T *x, *grad_y, *weight;
  T* grad_x;
  float mean, rstd;

  // Adds to the sums of the slopes, and of the slopes times the normalised x.
  __device__ __forceinline__ void add(int64_t j, float& sum, float& sum_normalised) const {
    float a[kItems], g[kItems], w[kItems];
    load<kItems>(x + j, a);
    load<kItems>(grad_y + j, g);
    load<kItems>(weight + j, w);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      sum += g[i] * w[i];
      sum_normalised += g[i] * w[i] * (a[i] - mean) * rstd;
    }
  }
  // Writes grad_x of a pack and adds to its part of the gradients of gain and bias.
  __device__ __forceinline__ void finish(int64_t j, float average, float average_normalised, float (&grad_weight)[kItems],
                                         float (&grad_bias)[kItems]) const {
    float a[kItems], g[kItems], w[kItems];
    load<kItems>(x + j, a);
    load<kItems>(grad_y + j, g);
    load<kItems>(weight + j, w);
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const float normalised = (a[i] - mean) * rstd;
      grad_weight[i] += g[i] * normalised;
      grad_bias[i] += g[i];
      a[i] = rstd * (g[i] * w[i] - average - normalised * average_normalised);
    }
    store<kItems>(grad_x + j, a);
  }
};

// One block for kLayerNormCudaBlock tokens: all three gradients from one reading of x and grad_y.
template <int kItems, typename T>
__global__ void backward(LayerNormBackward args) {
  __shared__ float shared[kCudaWarps];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kLayerNormCudaBlock;
  const int64_t last = first + kLayerNormCudaBlock < args.tokens ? first + kLayerNormCudaBlock : args.tokens;
  const int64_t step = static_cast<int64_t>(blockDim.x) * kItems, start = threadIdx.x * kItems;
  float* weight_sums = args.partial + static_cast<int64_t>(blockIdx.x) * 2 * args.hidden;
  float* bias_sums = weight_sums + args.hidden;
  float held_weight[kHeld][kItems] = {}, held_bias[kHeld][kItems] = {};
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = t * args.hidden;
    const BackwardRow<kItems, T> row{static_cast<const T*>(args.x) + at,
                                     static_cast<const T*>(args.grad_y) + at,
                                     static_cast<const T*>(args.weight),
                                     static_cast<T*>(args.grad_x) + at,
                                     args.mean[t],
                                     args.rstd[t]};
    float sum = 0.0f, sum_normalised = 0.0f;
    for (int64_t j = start; j < args.hidden; j += step) row.add(j, sum, sum_normalised);
    const float average = block_reduce(sum, shared, Sum()) / static_cast<float>(args.hidden);
    const float average_normalised = block_reduce(sum_normalised, shared, Sum()) / static_cast<float>(args.hidden);
#pragma unroll
    for (int p = 0; p < kHeld; ++p) {
      const int64_t j = start + p * step;
      if (j < args.hidden) row.finish(j, average, average_normalised, held_weight[p], held_bias[p]);
    }
    for (int64_t j = start + kHeld * step; j < args.hidden; j += step) {
      float weight_part[kItems] = {}, bias_part[kItems] = {};
      if (t > first) {
        load<kItems>(weight_sums + j, weight_part);
        load<kItems>(bias_sums + j, bias_part);
      }
      row.finish(j, average, average_normalised, weight_part, bias_part);
      store<kItems>(weight_sums + j, weight_part);
      store<kItems>(bias_sums + j, bias_part);
    }
  }
#pragma unroll
  for (int p = 0; p < kHeld; ++p) {
    const int64_t j = start + p * step;
    if (j >= args.hidden) continue;
    store<kItems>(weight_sums + j, held_weight[p]);
    store<kItems>(bias_sums + j, held_bias[p]);
  }
}

template <typename T>
void run(const LayerNormForward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const unsigned tokens = static_cast<unsigned>(args.tokens);
  if (can_pack<kItems>(args.hidden, static_cast<const T*>(args.x), static_cast<const T*>(args.weight),
                       static_cast<const T*>(args.bias), static_cast<const T*>(args.y))) {
    launch(forward<kItems, T>, tokens, row_threads(args.hidden / kItems), stream, args);
  } else {
    launch(forward<1, T>, tokens, row_threads(args.hidden), stream, args);
  }
}

template <typename T>
void run(const LayerNormBackward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const int64_t blocks = (args.tokens + kLayerNormCudaBlock - 1) / kLayerNormCudaBlock;
  const unsigned grid = static_cast<unsigned>(blocks);
  if (grid > 0 && args.hidden > 0) {
    if (can_pack<kItems>(args.hidden, static_cast<const T*>(args.x), static_cast<const T*>(args.weight),
                         static_cast<const T*>(args.grad_y), static_cast<const T*>(args.grad_x)) &&
        can_pack<kItems>(args.hidden, args.partial)) {
      launch(backward<kItems, T>, grid, row_threads(args.hidden / kItems), stream, args);
    } else {
      launch(backward<1, T>, grid, row_threads(args.hidden), stream, args);
    }
  }
  column_sums<T>(args.partial, blocks, 2 * args.hidden, args.hidden, args.grad_weight, stream);
  column_sums<T>(args.partial + args.hidden, blocks, 2 * args.hidden, args.hidden, args.grad_bias, stream);
}

}  // namespace

void layer_norm_forward_cuda(const LayerNormForward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

void layer_norm_backward_cuda(const LayerNormBackward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
