#include "kernels/common/cuda_support.cuh"
#include "kernels/rotary/rotary_kernel.h"

namespace prudent::kernels {

namespace {

// One block a token; a thread turns kItems pairs.
template <int kItems, typename T>
__global__ void rotate(RotaryArgs args) {
  const int64_t token = blockIdx.x, half = args.head_dim / 2;
  const int packs = static_cast<int>(half / kItems), work = static_cast<int>(args.heads) * packs;
  const float* cos = args.cos + args.positions[token] * half;
  const float* sin = args.sin + args.positions[token] * half;
  for (int i = threadIdx.x; i < work; i += blockDim.x) {
    const int head = i / packs, j = i % packs * kItems;
    const T* x = static_cast<const T*>(args.x) + token * args.x_stride + head * args.head_dim + j;
    T* y = static_cast<T*>(args.y) + (token * args.heads + head) * args.head_dim + j;
    float first[kItems], second[kItems], c[kItems], s[kItems];
    load<kItems>(x, first);
    load<kItems>(x + half, second);
    load<kItems>(cos + j, c);
    load<kItems>(sin + j, s);
#pragma unroll
    for (int k = 0; k < kItems; ++k) {
      const float turned = first[k] * c[k] - second[k] * s[k] * args.sign;
      second[k] = second[k] * c[k] + first[k] * s[k] * args.sign;
      first[k] = turned;
    }
    store<kItems>(y, first);
    store<kItems>(y + half, second);
  }
}

template <typename T>
void run(const RotaryArgs& args, void* stream) {
  constexpr int kItems = kPackItems<T>;
  const int64_t half = args.head_dim / 2;
  const bool packs = half % kItems == 0 && args.x_stride % kItems == 0 && can_pack<kItems>(kItems, args.cos, args.sin) &&
                     can_pack<kItems>(kItems, static_cast<const T*>(args.x), static_cast<const T*>(args.y));
  const unsigned tokens = static_cast<unsigned>(args.tokens);
  if (packs) {
    launch(rotate<kItems, T>, tokens, row_threads(args.heads * half / kItems), stream, args);
  } else {
    launch(rotate<1, T>, tokens, row_threads(args.heads * half), stream, args);
  }
}

}  // namespace

void rotary_rotate_cuda(const RotaryArgs& args, void* stream) {
  args.bf16 ? run<__nv_bfloat16>(args, stream) : run<float>(args, stream);
}

}  // namespace prudent::kernels
