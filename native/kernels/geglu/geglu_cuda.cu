#include "kernels/geglu/geglu_cuda.cuh"

namespace prudent::kernels {

namespace {

template <int kItems, typename T>
__device__ __forceinline__ void forward_items(const GegluForward& args, int64_t at) {
  float gate[kItems], up[kItems], y[kItems];
  load<kItems>(static_cast<const T*>(args.gate) + at, gate);
  load<kItems>(static_cast<const T*>(args.up) + at, up);
#pragma unroll
  for (int i = 0; i < kItems; ++i) y[i] = activate(gate[i], args.kind).value * up[i];
  store<kItems>(static_cast<T*>(args.y) + at, y);
}

template <int kItems, typename T>
__device__ __forceinline__ void backward_items(const GegluBackward& args, int64_t at) {
  float gate[kItems], up[kItems], grad[kItems];
  load<kItems>(static_cast<const T*>(args.gate) + at, gate);
  load<kItems>(static_cast<const T*>(args.up) + at, up);
  load<kItems>(static_cast<const T*>(args.grad_y) + at, grad);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const Activated<float> a = activate(gate[i], args.kind);
    gate[i] = grad[i] * up[i] * a.slope;
    up[i] = grad[i] * a.value;
  }
  store<kItems>(static_cast<T*>(args.grad_gate) + at, gate);
  store<kItems>(static_cast<T*>(args.grad_up) + at, up);
}

// A thread a pack, then a thread for each item that is left over.
template <int kItems, typename T>
__global__ void forward(GegluForward args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x, packs = args.count / kItems;
  if (i < packs) {
    forward_items<kItems, T>(args, i * kItems);
  } else if (packs * kItems + (i - packs) < args.count) {
    forward_items<1, T>(args, packs * kItems + (i - packs));
  }
}

template <int kItems, typename T>
__global__ void backward(GegluBackward args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kCudaThreads + threadIdx.x, packs = args.count / kItems;
  if (i < packs) {
    backward_items<kItems, T>(args, i * kItems);
  } else if (packs * kItems + (i - packs) < args.count) {
    backward_items<1, T>(args, packs * kItems + (i - packs));
  }
}

template <int kItems>
unsigned blocks_for(int64_t count) {
  return cuda_blocks(count / kItems + count % kItems);
}

template <typename T>
void run(const GegluForward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  if (can_pack<kItems>(kItems, static_cast<const T*>(args.gate), static_cast<const T*>(args.up), static_cast<const T*>(args.y))) {
    launch(forward<kItems, T>, blocks_for<kItems>(args.count), kCudaThreads, stream, args);
  } else {
    launch(forward<1, T>, cuda_blocks(args.count), kCudaThreads, stream, args);
  }
}

template <typename T>
void run(const GegluBackward& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  if (can_pack<kItems>(kItems, static_cast<const T*>(args.gate), static_cast<const T*>(args.up),
                       static_cast<const T*>(args.grad_y), static_cast<const T*>(args.grad_gate),
                       static_cast<const T*>(args.grad_up))) {
    launch(backward<kItems, T>, blocks_for<kItems>(args.count), kCudaThreads, stream, args);
  } else {
    launch(backward<1, T>, cuda_blocks(args.count), kCudaThreads, stream, args);
  }
}

}  // namespace

void geglu_forward_cuda(const GegluForward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

void geglu_backward_cuda(const GegluBackward& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
