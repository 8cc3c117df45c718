// A task is one row under one key/value head. Its keys are laid out once, then the query heads of the group pass over them in
// blocks of queries; a block sees keys up to its own last query only, so the upper triangle costs next to nothing. No tensor of
// [time, time] exists, and short rows cost no call into a matrix library.
#include <stdlib.h>

#include "kernels/common/isa_parallel.h"
#include "kernels/common/small_matmul.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kQueries = 32;  // of one block

// One allocation cut into pieces; freed with its task range.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : data_(static_cast<float*>(aligned_alloc(64, static_cast<size_t>((floats + 64) * 4 + 63) / 64 * 64))), next_(data_) {}
  ~Scratch() { free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void reset() { next_ = data_; }
  float* take(int64_t floats) {
    float* piece = next_;
    next_ += (floats + 15) / 16 * 16;
    return piece;
  }

 private:
  float *data_, *next_;
};

// to[t, j] = from[t, j] * factor, j padded with zeros up to `width`.
template <typename T>
void copy_rows(const T* from, int64_t stride, int64_t count, int64_t dim, int64_t width, float factor, float* to) {
  for (int64_t t = 0; t < count; ++t) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store(to + t * width + j, load_at(from + t * stride + j, n) * factor); });
  }
}

// to[j, t] = from[t, j], t padded with zeros up to `width`.
template <typename T>
void copy_transposed(const T* from, int64_t stride, int64_t count, int64_t dim, int64_t width, float* to) {
  for (int64_t j = 0; j < dim; ++j) {
    for (int64_t t = 0; t < count; ++t) to[j * width + t] = to_float(from[t * stride + j]);
    for (int64_t t = count; t < width; ++t) to[j * width + t] = 0.0f;
  }
}

template <typename T>
void write_rows(const float* from, int64_t width, int64_t count, int64_t dim, float factor, T* to, int64_t stride) {
  for (int64_t t = 0; t < count; ++t) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store_at(to + t * stride + j, load(from + t * width + j) * factor, n); });
  }
}

// What one row under one key/value head is made of.
struct Task {
  int64_t start, length, kv_head;
  int64_t dim;         // head_dim
  int64_t dim_width;   // head_dim, padded
  int64_t time_width;  // length, padded

  Task(const AttentionShape& shape, int64_t index)
      : start(shape.cu_seqlens[index / shape.kv_heads]),
        length(shape.cu_seqlens[index / shape.kv_heads + 1] - start),
        kv_head(index % shape.kv_heads),
        dim(shape.head_dim),
        dim_width(round_up(shape.head_dim)),
        time_width(round_up(length)) {}
};

int64_t longest_row(const AttentionShape& shape) {
  int64_t longest = 0;
  for (int64_t r = 0; r < shape.rows; ++r) {
    const int64_t length = shape.cu_seqlens[r + 1] - shape.cu_seqlens[r];
    longest = length > longest ? length : longest;
  }
  return longest;
}

// scores[i, s] -> exp(scores - row maximum), zeros for s > first + i; returns through `sums` and `maxima`.
void softmax_block(float* scores, int64_t width, int64_t limit, int64_t first, int64_t queries, float* sums, float* maxima) {
  for (int64_t i = 0; i < queries; ++i) {
    float* row = scores + i * width;
    for (int64_t s = first + i + 1; s < limit; ++s) row[s] = -__builtin_inff();
    Vec best = load(row);
    for (int64_t s = kWidth; s < limit; s += kWidth) best = max_of(best, load(row + s));
    const float max = max_lanes(best);
    Vec sum = {};
    for (int64_t s = 0; s < limit; s += kWidth) {
      const Vec e = exp(load(row + s) - max);
      sum += e;
      store(row + s, e);
    }
    sums[i] = sum_lanes(sum);
    maxima[i] = max;
  }
}

template <typename T>
void forward_task(const AttentionForward& args, const Task& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const int64_t group = shape.heads / shape.kv_heads, out_stride = shape.heads * task.dim;
  float* keys = scratch.take(task.dim * task.time_width);      // [dim, time]
  float* values = scratch.take(task.length * task.dim_width);  // [time, dim]
  float* queries = scratch.take(kQueries * task.dim_width);    // [block, dim]
  float* scores = scratch.take(kQueries * task.time_width);    // [block, time]
  float* outputs = scratch.take(kQueries * task.dim_width);    // [block, dim]
  const T* k = static_cast<const T*>(args.k) + task.start * shape.k_stride + task.kv_head * task.dim;
  const T* v = static_cast<const T*>(args.v) + task.start * shape.v_stride + task.kv_head * task.dim;
  copy_transposed(k, shape.k_stride, task.length, task.dim, task.time_width, keys);
  copy_rows(v, shape.v_stride, task.length, task.dim, task.dim_width, 1.0f, values);
  for (int64_t head = task.kv_head * group; head < (task.kv_head + 1) * group; ++head) {
    for (int64_t first = 0; first < task.length; first += kQueries) {
      const int64_t count = min_of(kQueries, task.length - first), seen = first + count, limit = round_up(seen);
      const T* q = static_cast<const T*>(args.q) + (task.start + first) * shape.q_stride + head * task.dim;
      copy_rows(q, shape.q_stride, count, task.dim, task.dim_width, shape.scale, queries);
      small_matmul(count, limit, task.dim, {queries, task.dim_width, 1}, keys, task.time_width, scores, task.time_width, false);
      float sums[kQueries], maxima[kQueries];
      softmax_block(scores, task.time_width, limit, first, count, sums, maxima);
      small_matmul(count, task.dim_width, seen, {scores, task.time_width, 1}, values, task.dim_width, outputs, task.dim_width,
                   false);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t token = task.start + first + i;
        const float inverse = 1.0f / sums[i];
        args.logsumexp[token * shape.heads + head] = maxima[i] + __builtin_logf(sums[i]);
        T* out = static_cast<T*>(args.out) + token * out_stride + head * task.dim;
        each_vector(
            task.dim, [&](int64_t j, int64_t n) __attribute__((always_inline)) {
              store_at(out + j, load(outputs + i * task.dim_width + j) * inverse, n);
            });
      }
    }
  }
}

// scores -> probabilities, slopes (d loss / d probability) -> d loss / d score; zeros above the diagonal. Queries carry the
// scale, so the gradient of the keys has it already and that of the queries takes it on writing.
void slope_block(float* scores, float* slopes, int64_t width, int64_t limit, int64_t first, int64_t queries,
                 const float* logsumexps, const float* deltas) {
  for (int64_t i = 0; i < queries; ++i) {
    float *p = scores + i * width, *d = slopes + i * width;
    for (int64_t s = first + i + 1; s < limit; ++s) p[s] = -__builtin_inff();
    for (int64_t s = 0; s < limit; s += kWidth) {
      const Vec probability = exp(load(p + s) - logsumexps[i]);
      store(p + s, probability);
      store(d + s, probability * (load(d + s) - deltas[i]));
    }
  }
}

template <typename T>
void backward_task(const AttentionBackward& args, const Task& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const int64_t group = shape.heads / shape.kv_heads, out_stride = shape.heads * task.dim, kv_stride = shape.kv_heads * task.dim;
  const int64_t dim = task.dim, dim_width = task.dim_width, time_width = task.time_width;
  float* keys = scratch.take(task.length * dim_width);         // [time, dim]
  float* keys_across = scratch.take(dim * time_width);         // [dim, time]
  float* values_across = scratch.take(dim * time_width);       // [dim, time]
  float* queries = scratch.take(kQueries * dim_width);         // [block, dim]
  float* grad_outputs = scratch.take(kQueries * dim_width);    // [block, dim]
  float* grad_queries = scratch.take(kQueries * dim_width);    // [block, dim]
  float* scores = scratch.take(kQueries * time_width);         // [block, time]
  float* slopes = scratch.take(kQueries * time_width);         // [block, time]
  float* grad_keys = scratch.take(task.length * dim_width);    // [time, dim]
  float* grad_values = scratch.take(task.length * dim_width);  // [time, dim]
  const T* k = static_cast<const T*>(args.k) + task.start * shape.k_stride + task.kv_head * dim;
  const T* v = static_cast<const T*>(args.v) + task.start * shape.v_stride + task.kv_head * dim;
  copy_rows(k, shape.k_stride, task.length, dim, dim_width, 1.0f, keys);
  copy_transposed(k, shape.k_stride, task.length, dim, time_width, keys_across);
  copy_transposed(v, shape.v_stride, task.length, dim, time_width, values_across);
  fill_zero(grad_keys, task.length * dim_width);
  fill_zero(grad_values, task.length * dim_width);
  for (int64_t head = task.kv_head * group; head < (task.kv_head + 1) * group; ++head) {
    for (int64_t first = 0; first < task.length; first += kQueries) {
      const int64_t count = min_of(kQueries, task.length - first), seen = first + count, limit = round_up(seen);
      const int64_t token = task.start + first;
      const T* q = static_cast<const T*>(args.q) + token * shape.q_stride + head * dim;
      const T* out = static_cast<const T*>(args.out) + token * out_stride + head * dim;
      const T* grad_out = static_cast<const T*>(args.grad_out) + token * out_stride + head * dim;
      copy_rows(q, shape.q_stride, count, dim, dim_width, shape.scale, queries);
      copy_rows(grad_out, out_stride, count, dim, dim_width, 1.0f, grad_outputs);
      float logsumexps[kQueries], deltas[kQueries];
      for (int64_t i = 0; i < count; ++i) {
        logsumexps[i] = args.logsumexp[(token + i) * shape.heads + head];
        deltas[i] = dot(out + i * out_stride, grad_out + i * out_stride, dim);
      }
      small_matmul(count, limit, dim, {queries, dim_width, 1}, keys_across, time_width, scores, time_width, false);
      small_matmul(count, limit, dim, {grad_outputs, dim_width, 1}, values_across, time_width, slopes, time_width, false);
      slope_block(scores, slopes, time_width, limit, first, count, logsumexps, deltas);
      small_matmul(count, dim_width, seen, {slopes, time_width, 1}, keys, dim_width, grad_queries, dim_width, false);
      write_rows(grad_queries, dim_width, count, dim, shape.scale, static_cast<T*>(args.grad_q) + token * out_stride + head * dim,
                 out_stride);
      small_matmul(seen, dim_width, count, {slopes, 1, time_width}, queries, dim_width, grad_keys, dim_width, true);
      small_matmul(seen, dim_width, count, {scores, 1, time_width}, grad_outputs, dim_width, grad_values, dim_width, true);
    }
  }
  write_rows(grad_keys, dim_width, task.length, dim, 1.0f,
             static_cast<T*>(args.grad_k) + task.start * kv_stride + task.kv_head * dim, kv_stride);
  write_rows(grad_values, dim_width, task.length, dim, 1.0f,
             static_cast<T*>(args.grad_v) + task.start * kv_stride + task.kv_head * dim, kv_stride);
}

// Tasks of about this many multiplications share a range.
constexpr int64_t kRangeWork = 1 << 20;

template <typename Body>
PRUDENT_VEC void each_task(const AttentionShape& shape, int64_t scratch_floats, const Body& body) {
  const int64_t longest = longest_row(shape);
  const int64_t work = longest * longest * shape.head_dim * (shape.heads / shape.kv_heads);
  parallel_for(shape.rows * shape.kv_heads, 1 + kRangeWork / (work + 1), [&](int64_t begin, int64_t end) {
    Scratch scratch(scratch_floats);
    for (int64_t i = begin; i < end; ++i) {
      const Task task(shape, i);
      scratch.reset();
      if (task.length > 0) body(task, scratch);
    }
  });
}

// One query of one head against `length` cached keys; `weights` holds `length` floats, `sum` dim_width floats.
template <typename T>
void attend_cached(const CachedAttention& args, const T* q, const T* k, const T* v, int64_t length, float* weights, float* sum,
                   T* out) {
  const int64_t dim = args.head_dim, stride = args.cache_token_stride;
  float max = -__builtin_inff();
  for (int64_t s = 0; s < length; ++s) {
    weights[s] = args.scale * dot(q, k + s * stride, dim);
    max = weights[s] > max ? weights[s] : max;
  }
  Vec total = {};
  each_vector(
      length, [&](int64_t s, int64_t n) __attribute__((always_inline)) {
        const Vec e = exp(load_at(weights + s, n) - max);
        store_at(weights + s, e, n);
        total += load_at(weights + s, n);
      });
  fill_zero(sum, round_up(dim));
  for (int64_t s = 0; s < length; ++s) {
    each_vector(
        dim, [&](int64_t j, int64_t n)
                 __attribute__((always_inline)) { store(sum + j, load(sum + j) + weights[s] * load_at(v + s * stride + j, n)); });
  }
  write_rows(sum, round_up(dim), 1, dim, 1.0f / sum_lanes(total), out, dim);
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

void attention_forward(const AttentionForward& args) {
  const int64_t time = round_up(longest_row(args.shape)), dim = round_up(args.shape.head_dim);
  const int64_t floats = 2 * time * dim + kQueries * (2 * dim + time) + 5 * 16;
  each_task(args.shape, floats, [&](const Task& task, Scratch& scratch) {
    args.shape.bf16 ? forward_task<Bf16>(args, task, scratch) : forward_task<float>(args, task, scratch);
  });
}

void attention_backward(const AttentionBackward& args) {
  const int64_t time = round_up(longest_row(args.shape)), dim = round_up(args.shape.head_dim);
  const int64_t floats = 5 * time * dim + kQueries * (3 * dim + 2 * time) + 10 * 16;
  each_task(args.shape, floats, [&](const Task& task, Scratch& scratch) {
    args.shape.bf16 ? backward_task<Bf16>(args, task, scratch) : backward_task<float>(args, task, scratch);
  });
}

void attention_cached(const CachedAttention& args) { args.bf16 ? cached<Bf16>(args) : cached<float>(args); }

}  // namespace prudent::kernels::PRUDENT_ISA
