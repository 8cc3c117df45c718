#include "kernels/common/cuda_support.cuh"
#include "kernels/token_logprob/token_logprob_kernel.h"
#include "kernels/token_logprob/token_logprob_math.h"

namespace prudent::kernels {

namespace {

// Logits of one token in one chunk, bias and temperature applied on the way.
template <typename T>
struct Row {
  const T *logits, *bias;
  float scale;
  int64_t columns;

  __device__ __forceinline__ Row(const LogitsChunk& chunk, int64_t token)
      : logits(static_cast<const T*>(chunk.logits) + token * chunk.stride),
        bias(static_cast<const T*>(chunk.bias)),
        scale(chunk.inverse_temperature),
        columns(chunk.columns) {}

  template <int kItems>
  __device__ __forceinline__ void read(int64_t at, float (&to)[kItems]) const {
    load<kItems>(logits + at, to);
#pragma unroll
    for (int i = 0; i < kItems; ++i) to[i] = (to[i] + (bias == nullptr ? 0.0f : to_float(bias[at + i]))) * scale;
  }
};

template <int kItems>
__device__ __forceinline__ float largest_of(const float (&values)[kItems]) {
  float largest = values[0];
#pragma unroll
  for (int i = 1; i < kItems; ++i) largest = values[i] > largest ? values[i] : largest;
  return largest;
}

// body(integral constant, at) on the packs of [0, columns) that belong to this thread, then on single items.
template <int kItems>
struct Items {};
template <int kItems, typename Body>
__device__ __forceinline__ void each_items(int64_t columns, const Body& body) {
  const int64_t packed = columns / kItems * kItems;
  for (int64_t at = threadIdx.x * kItems; at < packed; at += static_cast<int64_t>(blockDim.x) * kItems) body(Items<kItems>(), at);
  if (kItems > 1 && packed + threadIdx.x < columns) body(Items<1>(), packed + threadIdx.x);
}

template <typename T>
struct AccumulateItems {
  const Row<T>& row;
  SoftmaxState& state;
  bool want_entropy;

  template <int kItems>
  __device__ __forceinline__ void operator()(Items<kItems>, int64_t at) const {
    float logits[kItems];
    row.template read<kItems>(at, logits);
    const float largest = largest_of(logits);
    if (largest > state.max) raise_max(state, largest);
    if (state.max == -HUGE_VALF) return;  // nothing but -infinity so far
#pragma unroll
    for (int i = 0; i < kItems; ++i) add_logit(state, logits[i], want_entropy);
  }
};

// One block a token, one reading of its logits: every thread keeps a softmax of its own, and they are joined at the end.
template <int kItems, typename T>
__global__ void accumulate(LogprobAccumulate args) {
  __shared__ float shared[kCudaWarps];
  const int64_t t = blockIdx.x;
  const Row<T> row(args.chunk, t);
  SoftmaxState mine = fresh_state();
  each_items<kItems>(row.columns, AccumulateItems<T>{row, mine, args.want_entropy});
  const SoftmaxState before = args.chunk.first == 0 ? fresh_state() : args.states[t];
  float max = block_reduce(mine.max, shared, Largest());
  max = before.max > max ? before.max : max;
  raise_max(mine, max);
  const float sum = block_reduce(mine.sum, shared, Sum());
  const float weighted = args.want_entropy ? block_reduce(mine.weighted, shared, Sum()) : 0.0f;
  if (threadIdx.x > 0) return;
  SoftmaxState state = before;
  raise_max(state, max);
  state.sum += sum;
  state.weighted += weighted;
  const int64_t target = args.targets[t] - args.chunk.first;
  if (target >= 0 && target < row.columns) {
    float logit[1];
    row.template read<1>(target, logit);
    state.target = logit[0];
  }
  args.states[t] = state;
}

template <typename T>
struct GradientItems {
  const Row<T>& row;
  T* out;
  float logsumexp, scale;
  int64_t target;

  template <int kItems>
  __device__ __forceinline__ void operator()(Items<kItems>, int64_t at) const {
    float slopes[kItems];
    row.template read<kItems>(at, slopes);
#pragma unroll
    for (int i = 0; i < kItems; ++i) slopes[i] = scale * ((at + i == target ? 1.0f : 0.0f) - expf(slopes[i] - logsumexp));
    store<kItems>(out + at, slopes);
  }
};

// One block a token. Every item is read and written by one thread: the slopes may take the logits' place.
template <int kItems, typename T>
__global__ void gradient(LogprobGradient args) {
  const int64_t t = blockIdx.x;
  const Row<T> row(args.chunk, t);
  T* slopes = static_cast<T*>(args.slopes) + t * args.chunk.stride;
  each_items<kItems>(row.columns, GradientItems<T>{row, slopes, args.logsumexps[t], args.grad[t] * args.chunk.inverse_temperature,
                                                   args.targets[t] - args.chunk.first});
  for (int64_t at = row.columns + threadIdx.x; at < args.chunk.stride; at += blockDim.x) set(slopes[at], 0.0f);
}

template <typename T>
struct KlItems {
  const Row<T>&p, &q;
  SoftmaxState &p_state, &q_state;

  template <int kItems>
  __device__ __forceinline__ void operator()(Items<kItems>, int64_t at) const {
    float p_logits[kItems], q_logits[kItems];
    p.template read<kItems>(at, p_logits);
    q.template read<kItems>(at, q_logits);
    const float p_largest = largest_of(p_logits), q_largest = largest_of(q_logits);
    if (p_largest > p_state.max) raise_kl_max(p_state, p_largest);
    if (q_largest > q_state.max) raise_kl_max(q_state, q_largest);
#pragma unroll
    for (int i = 0; i < kItems; ++i) add_kl_logits(p_state, q_state, p_logits[i], q_logits[i]);
  }
};

__device__ __forceinline__ float joint_max(const SoftmaxState& mine, const SoftmaxState& before, float* shared) {
  const float max = block_reduce(mine.max, shared, Largest());
  return before.max > max ? before.max : max;
}

template <int kItems, typename T>
__global__ void accumulate_kl(KlAccumulate args) {
  __shared__ float shared[kCudaWarps];
  const int64_t t = blockIdx.x;
  const Row<T> p(args.p, t), q(args.q, t);
  SoftmaxState p_mine = fresh_state(), q_mine = fresh_state();
  each_items<kItems>(p.columns, KlItems<T>{p, q, p_mine, q_mine});
  SoftmaxState p_state = args.p.first == 0 ? fresh_state() : args.p_states[t];
  SoftmaxState q_state = args.p.first == 0 ? fresh_state() : args.q_states[t];
  const float p_max = joint_max(p_mine, p_state, shared), q_max = joint_max(q_mine, q_state, shared);
  raise_kl_max(p_mine, p_max);
  raise_kl_max(q_mine, q_max);
  const float p_sum = block_reduce(p_mine.sum, shared, Sum()), q_sum = block_reduce(q_mine.sum, shared, Sum());
  const float weighted = block_reduce(p_mine.weighted, shared, Sum());
  if (threadIdx.x > 0) return;
  raise_kl_max(p_state, p_max);
  raise_kl_max(q_state, q_max);
  p_state.sum += p_sum;
  p_state.weighted += weighted;
  q_state.sum += q_sum;
  args.p_states[t] = p_state;
  args.q_states[t] = q_state;
}

__global__ void finish(LogprobFinish args) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (t < args.tokens) finish_token(args, t);
}

__global__ void finish_kl(KlFinish args) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x;
  if (t < args.tokens) finish_kl_token(args, t);
}

template <typename T>
bool has_packs(const LogitsChunk& chunk) {
  return can_pack<kPackItems<T>>(chunk.stride, static_cast<const T*>(chunk.logits));
}

unsigned tokens_of(const LogitsChunk& chunk) { return static_cast<unsigned>(chunk.tokens); }

template <typename T>
void run(const LogprobAccumulate& args, void* stream) {
  if (has_packs<T>(args.chunk)) {
    launch(accumulate<kPackItems<T>, T>, tokens_of(args.chunk), kCudaThreads, stream, args);
  } else {
    launch(accumulate<1, T>, tokens_of(args.chunk), kCudaThreads, stream, args);
  }
}

template <typename T>
void run(const LogprobGradient& args, void* stream) {
  if (has_packs<T>(args.chunk) && can_pack<kPackItems<T>>(args.chunk.stride, static_cast<const T*>(args.slopes))) {
    launch(gradient<kPackItems<T>, T>, tokens_of(args.chunk), kCudaThreads, stream, args);
  } else {
    launch(gradient<1, T>, tokens_of(args.chunk), kCudaThreads, stream, args);
  }
}

template <typename T>
void run(const KlAccumulate& args, void* stream) {
  if (has_packs<T>(args.p) && has_packs<T>(args.q)) {
    launch(accumulate_kl<kPackItems<T>, T>, tokens_of(args.p), kCudaThreads, stream, args);
  } else {
    launch(accumulate_kl<1, T>, tokens_of(args.p), kCudaThreads, stream, args);
  }
}

}  // namespace

void logprob_accumulate_cuda(const LogprobAccumulate& args, void* stream) {
  args.chunk.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}
void logprob_gradient_cuda(const LogprobGradient& args, void* stream) {
  args.chunk.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}
void kl_accumulate_cuda(const KlAccumulate& args, void* stream) {
  args.p.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}
void logprob_finish_cuda(const LogprobFinish& args, void* stream) {
  launch(finish, cuda_blocks(args.tokens), kCudaThreads, stream, args);
}
void kl_finish_cuda(const KlFinish& args, void* stream) {
  launch(finish_kl, cuda_blocks(args.tokens), kCudaThreads, stream, args);
}

}  // namespace prudent::kernels
