// A task is a segment (forward) or a tree of segments (backward) under one key/value head. The keys that a segment sees are laid
// out once, then the query heads of the group pass over them in blocks of queries; a block sees keys up to its own last query
// only, so the upper triangle costs next to nothing. No tensor of [time, time] exists, and short rows cost no call into a
// matrix library.
#include "kernels/common/isa_parallel.h"
#include "kernels/common/small_matmul.h"
#include "kernels/packed_attention/attention_scratch.h"
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kBlock = kAttentionBlock;

// The first `seen` keys of a segment's chain, piece by piece: body(first token, how many, place in the chain).
template <typename Body>
PRUDENT_VEC void each_piece(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const Body& body) {
  int64_t place = 0;
  for (int64_t i = segment.pieces_begin; i < segment.pieces_end && place < seen; ++i) {
    const int64_t count = min_of(shape.pieces[i].count, seen - place);
    body(static_cast<int64_t>(shape.pieces[i].start), count, place);
    place += count;
  }
}

// [dim, time], time padded with zeros up to `width`.
template <typename T>
void gather_transposed(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const T* from, int64_t stride,
                       int64_t width, float* to) {
  each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
    copy_transposed(from + start * stride, stride, count, shape.head_dim, width, to + place);
  });
  for (int64_t j = 0; j < shape.head_dim; ++j) {
    for (int64_t t = seen; t < width; ++t) to[j * width + t] = 0.0f;
  }
}

// [time, dim], dim padded with zeros to whole vectors.
template <typename T>
void gather_rows(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const T* from, int64_t stride,
                 float* to) {
  const int64_t width = round_up(shape.head_dim);
  each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
    copy_rows(from + start * stride, stride, count, shape.head_dim, width, 1.0f, to + place * width);
  });
}

// Row i of scores [queries, width] -> exp(scores - row maximum) for its first limits[i] keys, then zeros up to `limit`; sums and
// maxima come out too.
void softmax_block(float* scores, int64_t width, int64_t limit, const int32_t* limits, int64_t queries, float* sums,
                   float* maxima) {
  for (int64_t i = 0; i < queries; ++i) {
    float* row = scores + i * width;
    for (int64_t s = limits[i]; s < limit; ++s) row[s] = -__builtin_inff();
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
void forward_task(const AttentionForward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const AttentionSegment& segment = shape.segments[task.segments_begin];
  const int64_t dim = shape.head_dim, dim_width = round_up(dim), out_stride = shape.heads * dim;
  const int64_t task_keys = shape.limits[task.queries_end - 1], time_width = round_up(task_keys);
  const int64_t kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  float* keys = scratch.take(dim * time_width);        // [dim, time]
  float* values = scratch.take(task_keys * dim_width);  // [time, dim]
  float* queries = scratch.take(kBlock * dim_width);   // [block, dim]
  float* scores = scratch.take(kBlock * time_width);   // [block, time]
  float* outputs = scratch.take(kBlock * dim_width);   // [block, dim]
  gather_transposed(shape, segment, task_keys, static_cast<const T*>(args.k) + kv_head * dim, shape.k_stride, time_width, keys);
  gather_rows(shape, segment, task_keys, static_cast<const T*>(args.v) + kv_head * dim, shape.v_stride, values);
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = task.queries_begin; first < task.queries_end; first += kBlock) {
      const int64_t count = min_of(kBlock, task.queries_end - first);
      const int64_t seen = shape.limits[first + count - 1], limit = round_up(seen);
      const T* q = static_cast<const T*>(args.q) + first * shape.q_stride + head * dim;
      copy_rows(q, shape.q_stride, count, dim, dim_width, shape.scale, queries);
      small_matmul(count, limit, dim, {queries, dim_width, 1}, keys, time_width, scores, time_width, false);
      float sums[kBlock], maxima[kBlock];
      softmax_block(scores, time_width, limit, shape.limits + first, count, sums, maxima);
      small_matmul(count, dim_width, seen, {scores, time_width, 1}, values, dim_width, outputs, dim_width, false);
      for (int64_t i = 0; i < count; ++i) {
        args.logsumexp[(first + i) * shape.heads + head] = maxima[i] + __builtin_logf(sums[i]);
        write_rows(outputs + i * dim_width, dim_width, 1, dim, 1.0f / sums[i],
                   static_cast<T*>(args.out) + (first + i) * out_stride + head * dim, out_stride);
      }
    }
  }
}

// scores -> probabilities, slopes (d loss / d probability) -> d loss / d score; zeros for keys that a query does not see.
// Queries carry the scale, so the gradient of the keys has it already and that of the queries takes it on writing.
void slope_block(float* scores, float* slopes, int64_t width, int64_t limit, const int32_t* limits, int64_t queries,
                 const float* logsumexps, const float* deltas) {
  for (int64_t i = 0; i < queries; ++i) {
    float *p = scores + i * width, *d = slopes + i * width;
    for (int64_t s = limits[i]; s < limit; ++s) p[s] = -__builtin_inff();
    for (int64_t s = 0; s < limit; s += kWidth) {
      const Vec probability = exp(load(p + s) - logsumexps[i]);
      store(p + s, probability);
      store(d + s, probability * (load(d + s) - deltas[i]));
    }
  }
}

// Scratch of a backward task: one segment's keys in the layouts that its products need, and its gradients.
struct BackwardScratch {
  int64_t time, dim, tree_tokens;                // padded; of the longest segment, of the largest tree
  float *keys, *keys_across, *values_across;     // [time, dim], [dim, time], [dim, time]
  float *grad_keys, *grad_values;                // [time, dim]
  float *queries, *grad_outputs, *grad_queries;  // [block, dim]
  float *scores, *slopes;                        // [block, time]
  float *tree_grad_keys, *tree_grad_values;      // [tokens of the tree, dim]: where several segments add up

  explicit BackwardScratch(const AttentionShape& shape)
      : time(round_up(shape.most_keys)), dim(round_up(shape.head_dim)), tree_tokens(shape.most_tree_tokens) {}
  int64_t floats() const { return 5 * time * dim + kBlock * (3 * dim + 2 * time) + 2 * tree_tokens * dim + 12 * 16; }
  void take_from(Scratch& scratch) {
    keys = scratch.take(time * dim);
    keys_across = scratch.take(time * dim);
    values_across = scratch.take(time * dim);
    grad_keys = scratch.take(time * dim);
    grad_values = scratch.take(time * dim);
    queries = scratch.take(kBlock * dim);
    grad_outputs = scratch.take(kBlock * dim);
    grad_queries = scratch.take(kBlock * dim);
    scores = scratch.take(kBlock * time);
    slopes = scratch.take(kBlock * time);
    tree_grad_keys = scratch.take(tree_tokens * dim);
    tree_grad_values = scratch.take(tree_tokens * dim);
  }
};

// One block of queries under one head: writes grad_q, adds to grad_keys and grad_values.
template <typename T>
void backward_block(const AttentionBackward& args, int64_t head, int64_t first, int64_t count, int64_t time_width,
                    const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, dim_width = round_up(dim), out_stride = shape.heads * dim;
  const int64_t seen = shape.limits[first + count - 1], limit = round_up(seen);
  const T* out = static_cast<const T*>(args.out) + first * out_stride + head * dim;
  const T* grad_out = static_cast<const T*>(args.grad_out) + first * out_stride + head * dim;
  copy_rows(static_cast<const T*>(args.q) + first * shape.q_stride + head * dim, shape.q_stride, count, dim, dim_width,
            shape.scale, s.queries);
  copy_rows(grad_out, out_stride, count, dim, dim_width, 1.0f, s.grad_outputs);
  float logsumexps[kBlock], deltas[kBlock];
  for (int64_t i = 0; i < count; ++i) {
    logsumexps[i] = args.logsumexp[(first + i) * shape.heads + head];
    deltas[i] = dot(out + i * out_stride, grad_out + i * out_stride, dim);
  }
  small_matmul(count, limit, dim, {s.queries, dim_width, 1}, s.keys_across, time_width, s.scores, time_width, false);
  small_matmul(count, limit, dim, {s.grad_outputs, dim_width, 1}, s.values_across, time_width, s.slopes, time_width, false);
  slope_block(s.scores, s.slopes, time_width, limit, shape.limits + first, count, logsumexps, deltas);
  small_matmul(count, dim_width, seen, {s.slopes, time_width, 1}, s.keys, dim_width, s.grad_queries, dim_width, false);
  write_rows(s.grad_queries, dim_width, count, dim, shape.scale, static_cast<T*>(args.grad_q) + first * out_stride + head * dim,
             out_stride);
  small_matmul(seen, dim_width, count, {s.slopes, 1, time_width}, s.queries, dim_width, s.grad_keys, dim_width, true);
  small_matmul(seen, dim_width, count, {s.scores, 1, time_width}, s.grad_outputs, dim_width, s.grad_values, dim_width, true);
}

// Fills grad_keys and grad_values with what this segment's queries give to all keys that they see.
template <typename T>
void backward_segment(const AttentionBackward& args, const AttentionTask& task, const AttentionSegment& segment,
                      const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, dim_width = round_up(dim), time_width = round_up(segment.keys);
  const int64_t kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  fill_zero(s.grad_keys, segment.keys * dim_width);
  fill_zero(s.grad_values, segment.keys * dim_width);
  if (segment.queries_begin == segment.queries_end) return;
  const T *k = static_cast<const T*>(args.k) + kv_head * dim, *v = static_cast<const T*>(args.v) + kv_head * dim;
  gather_rows(shape, segment, segment.keys, k, shape.k_stride, s.keys);
  gather_transposed(shape, segment, segment.keys, k, shape.k_stride, time_width, s.keys_across);
  gather_transposed(shape, segment, segment.keys, v, shape.v_stride, time_width, s.values_across);
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = segment.queries_begin; first < segment.queries_end; first += kBlock) {
      backward_block<T>(args, head, first, min_of(kBlock, segment.queries_end - first), time_width, s);
    }
  }
}

PRUDENT_VEC void add_rows(const float* from, int64_t floats, float* to) {
  for (int64_t i = 0; i < floats; i += kWidth) store(to + i, load(to + i) + load(from + i));
}

template <typename T, typename Grad>
void backward_task(const AttentionBackward& args, const AttentionTask& task, const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, dim_width = round_up(dim);
  const int64_t heads = args.per_head ? shape.heads : shape.kv_heads, stride = heads * dim;
  const int64_t head = args.per_head ? task.heads_begin : task.heads_begin / (shape.heads / shape.kv_heads);
  const auto write = [&](const float* keys, const float* values, int64_t start, int64_t count) {
    write_rows(keys, dim_width, count, dim, 1.0f, static_cast<Grad*>(args.grad_k) + start * stride + head * dim, stride);
    write_rows(values, dim_width, count, dim, 1.0f, static_cast<Grad*>(args.grad_v) + start * stride + head * dim, stride);
  };
  const AttentionSegment& root = shape.segments[task.segments_begin];
  const int64_t tree_start = shape.pieces[root.pieces_begin].start;
  if (task.segments_end - task.segments_begin == 1) {
    backward_segment<T>(args, task, root, s);
    write(s.grad_keys, s.grad_values, tree_start, root.keys);
    return;
  }
  const AttentionPiece& last = shape.pieces[shape.segments[task.segments_end - 1].pieces_end - 1];
  const int64_t tokens = last.start + last.count - tree_start;
  fill_zero(s.tree_grad_keys, tokens * dim_width);
  fill_zero(s.tree_grad_values, tokens * dim_width);
  for (int64_t i = task.segments_begin; i < task.segments_end; ++i) {
    const AttentionSegment& segment = shape.segments[i];
    if (segment.queries_begin == segment.queries_end) continue;
    backward_segment<T>(args, task, segment, s);
    each_piece(shape, segment, segment.keys, [&](int64_t start, int64_t count, int64_t place) {
      const int64_t to = (start - tree_start) * dim_width, from = place * dim_width;
      add_rows(s.grad_keys + from, count * dim_width, s.tree_grad_keys + to);
      add_rows(s.grad_values + from, count * dim_width, s.tree_grad_values + to);
    });
  }
  write(s.tree_grad_keys, s.tree_grad_values, tree_start, tokens);
}

// Tasks of about this many multiplications share a range.
constexpr int64_t kRangeWork = 1 << 20;

// Threads take ranges of work, not of tasks: rows differ in length. A task belongs to the range that it begins in.
template <typename Body>
PRUDENT_VEC void each_task(const AttentionShape& shape, int64_t scratch_floats, const Body& body) {
  const auto first_from = [&](int64_t work) {
    int64_t low = 0, high = shape.task_count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (shape.tasks[middle].work_begin < work) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  };
  parallel_for(shape.work, kRangeWork, [&](int64_t begin, int64_t end) {
    const int64_t last = first_from(end);
    int64_t i = first_from(begin);
    if (i == last) return;
    Scratch scratch(scratch_floats);
    for (; i < last; ++i) {
      scratch.reset();
      body(shape.tasks[i], scratch);
    }
  });
}

}  // namespace

void attention_forward(const AttentionForward& args) {
  const int64_t time = round_up(args.shape.most_keys), dim = round_up(args.shape.head_dim);
  const int64_t floats = 2 * time * dim + kBlock * (2 * dim + time) + 5 * 16;
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    args.shape.bf16 ? forward_task<Bf16>(args, task, scratch) : forward_task<float>(args, task, scratch);
  });
}

void attention_backward(const AttentionBackward& args) {
  each_task(args.shape, BackwardScratch(args.shape).floats(), [&](const AttentionTask& task, Scratch& scratch) {
    BackwardScratch pieces(args.shape);
    pieces.take_from(scratch);
    if (!args.shape.bf16) {
      backward_task<float, float>(args, task, pieces);
    } else if (args.per_head) {
      backward_task<Bf16, float>(args, task, pieces);
    } else {
      backward_task<Bf16, Bf16>(args, task, pieces);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
