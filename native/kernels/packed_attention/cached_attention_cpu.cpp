// One new token a row against the keys and values held for it.
#include "kernels/common/isa_parallel.h"
#include "kernels/packed_attention/attention_direct.h"
#include "kernels/packed_attention/attention_scratch.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

// One query of one head; `weights` holds `length` floats, `sum` whole vectors of dim.
template <typename T>
void attend_cached(const CachedAttention& args, const T* q, const T* k, const T* v, int64_t length, float* weights, float* sum,
                   T* out) {
  const int64_t dim = args.head_dim, stride = args.cache_token_stride;
  const float max = direct_scores(q, k, stride, length, dim, args.scale, weights);
  const float total = direct_softmax(weights, length, max);
  fill_zero(sum, round_up(dim));
  direct_sum(weights, v, stride, length, dim, sum);
  write_rows(sum, round_up(dim), 1, dim, 1.0f / total, out, dim);
}

template <typename T>
void cached(const CachedAttention& args) {
  const int64_t group = args.heads / args.kv_heads, dim = args.head_dim;
  parallel_for(args.rows * args.heads, 1 + (1 << 16) / (args.max_length * dim), [&](int64_t begin, int64_t end) {
    Scratch scratch(round_up(args.max_length) + round_up(dim));
    float *weights = scratch.take(round_up(args.max_length)), *sum = scratch.take(round_up(dim));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / args.heads, head = i % args.heads;
      const int64_t cache = row * args.cache_row_stride + head / group * dim;
      attend_cached(args, static_cast<const T*>(args.q) + row * args.q_stride + head * dim,
                    static_cast<const T*>(args.k_cache) + cache, static_cast<const T*>(args.v_cache) + cache, args.lengths[row],
                    weights, sum, static_cast<T*>(args.out) + i * dim);
    }
  });
}

}  // namespace

void attention_cached(const CachedAttention& args) { args.bf16 ? cached<Bf16>(args) : cached<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
