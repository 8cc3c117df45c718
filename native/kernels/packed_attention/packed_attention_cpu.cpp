// A task is a segment (forward) or a tree of segments (backward) under one key/value head. The keys that a segment sees are laid
// out once, then the query heads of the group pass over them in blocks of queries; a block sees keys up to its own last query
// only, so the upper triangle costs next to nothing. No tensor of [time, time] exists, and short rows cost no call into a
// matrix library.
#include "kernels/common/isa_parallel.h"
#include "kernels/common/small_matmul.h"
#include "kernels/packed_attention/attention_direct.h"
#include "kernels/packed_attention/attention_scratch.h"
#include "kernels/packed_attention/attention_transpose.h"
#ifdef __AMX_BF16__
#include "kernels/packed_attention/attention_tiles.h"
#endif
#include "kernels/packed_attention/packed_attention_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kBlock = kAttentionBlock;

// Rows of a segment's chain in fp32, [rows, width], zeros where there is nothing.
template <typename T>
void gather_rows(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const T* from, int64_t stride,
                 int64_t rows, int64_t width, float* to) {
  const int64_t dim = shape.head_dim, written = round_up(dim);
  each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
    copy_rows(from + start * stride, stride, count, dim, width, 1.0f, to + place * width);
    for (int64_t t = 0; t < count && written < width; ++t) fill_zero(to + (place + t) * width + written, width - written);
  });
  fill_zero(to + seen * width, (rows - seen) * width);
}

// x [rows, width], both multiples of kPanel -> panels of x, [width / kPanel][rows][kPanel].
void panels_of(const float* x, int64_t rows, int64_t width, float* to) {
  for (int64_t j = 0; j < width; j += kPanel) {
    for (int64_t t = 0; t < rows; ++t, to += kPanel) {
      store(to, load(x + t * width + j));
      store(to + kWidth, load(x + t * width + j + kWidth));
    }
  }
}

// The same of x transposed, [rows / kPanel][width][kPanel].
void panels_across(const float* x, int64_t rows, int64_t width, float* to) {
  for (int64_t t = 0; t < rows; t += kPanel) {
#ifdef __AVX512F__
    for (int64_t j = 0; j < width; j += 16) {
      for (int64_t half = 0; half < kPanel; half += 16) {
        transpose_dwords(reinterpret_cast<const uint32_t*>(x + (t + half) * width + j), width,
                         reinterpret_cast<uint32_t*>(to + j * kPanel + half), kPanel);
      }
    }
#else
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t i = 0; i < kPanel; ++i) to[j * kPanel + i] = x[(t + i) * width + j];
    }
#endif
    to += width * kPanel;
  }
}

// Rows of scores lie this far apart: more than the keys, so that the rows of a block do not fall on the same cache lines' places.
PRUDENT_VEC int64_t score_width(int64_t keys) { return round_up_to_panel(keys) + kWidth; }

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

// Queries of a task for whose sake its keys are not laid out.
constexpr int64_t kFewQueries = 4;

template <typename T>
void forward_few(const AttentionForward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const AttentionSegment& segment = shape.segments[task.segments_begin];
  const int64_t dim = shape.head_dim, dim_width = round_up(dim), out_stride = shape.heads * dim;
  const int64_t kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  const T *k = static_cast<const T*>(args.k) + kv_head * dim, *v = static_cast<const T*>(args.v) + kv_head * dim;
  float *weights = scratch.take(round_up(segment.keys)), *sum = scratch.take(dim_width);
  for (int64_t i = task.queries_begin; i < task.queries_end; ++i) {
    for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
      const T* q = static_cast<const T*>(args.q) + i * shape.q_stride + head * dim;
      const int64_t seen = shape.limits[i];
      float max = -__builtin_inff();
      each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
        const float best =
            direct_scores(q, k + start * shape.k_stride, shape.k_stride, count, dim, shape.scale, weights + place);
        max = best > max ? best : max;
      });
      const float total = direct_softmax(weights, seen, max);
      fill_zero(sum, dim_width);
      each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
        direct_sum(weights + place, v + start * shape.v_stride, shape.v_stride, count, dim, sum);
      });
      args.logsumexp[i * shape.heads + head] = max + __builtin_logf(total);
      write_rows(sum, dim_width, 1, dim, 1.0f / total, static_cast<T*>(args.out) + i * out_stride + head * dim, out_stride);
    }
  }
}

template <typename T>
void forward_task(const AttentionForward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const AttentionSegment& segment = shape.segments[task.segments_begin];
  const int64_t dim = shape.head_dim, width = round_up_to_panel(dim), out_stride = shape.heads * dim;
  const int64_t task_keys = shape.limits[task.queries_end - 1], time = round_up_to_panel(task_keys);
  const int64_t score_row = score_width(task_keys), kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  float* rows = scratch.take(time * width);
  float* keys = scratch.take(time * width);          // panels across
  float* values = scratch.take(time * width);        // panels
  float* queries = scratch.take(kBlock * width);     // [block, dim]
  float* scores = scratch.take(kBlock * score_row);  // [block, time]
  float* outputs = scratch.take(kBlock * width);     // [block, dim]
  gather_rows(shape, segment, task_keys, static_cast<const T*>(args.k) + kv_head * dim, shape.k_stride, time, width, rows);
  panels_across(rows, time, width, keys);
  gather_rows(shape, segment, task_keys, static_cast<const T*>(args.v) + kv_head * dim, shape.v_stride, time, width, rows);
  panels_of(rows, time, width, values);
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = task.queries_begin; first < task.queries_end; first += kBlock) {
      const int64_t count = min_of(kBlock, task.queries_end - first);
      const int64_t seen = shape.limits[first + count - 1], limit = round_up_to_panel(seen);
      const T* q = static_cast<const T*>(args.q) + first * shape.q_stride + head * dim;
      copy_rows(q, shape.q_stride, count, dim, width, shape.scale, queries);
      small_matmul(count, limit, dim, {queries, width, 1}, panel_major(keys, width), scores, score_row, false);
      float sums[kBlock], maxima[kBlock];
      softmax_block(scores, score_row, limit, shape.limits + first, count, sums, maxima);
      small_matmul(count, width, seen, {scores, score_row, 1}, panel_major(values, time), outputs, width, false);
      for (int64_t i = 0; i < count; ++i) {
        args.logsumexp[(first + i) * shape.heads + head] = maxima[i] + __builtin_logf(sums[i]);
        write_rows(outputs + i * width, width, 1, dim, 1.0f / sums[i],
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
  float *keys, *key_panels, *keys_across, *values_across;  // [time, dim] as rows, panels, panels of the transpose
  float *grad_keys, *grad_values;                          // [time, dim]
  float *queries, *grad_outputs, *grad_queries;            // [block, dim]
  float *scores, *slopes;                                  // [block, time]
  float *tree_grad_keys, *tree_grad_values;                // [tokens of the tree, dim]: where several segments add up

  BackwardScratch(const AttentionShape& shape, Scratch& scratch) {
    const int64_t time = round_up_to_panel(shape.most_keys), dim = round_up_to_panel(shape.head_dim);
    keys = scratch.take(time * dim);
    key_panels = scratch.take(time * dim);
    keys_across = scratch.take(time * dim);
    values_across = scratch.take(time * dim);
    grad_keys = scratch.take(time * dim);
    grad_values = scratch.take(time * dim);
    queries = scratch.take(kBlock * dim);
    grad_outputs = scratch.take(kBlock * dim);
    grad_queries = scratch.take(kBlock * dim);
    scores = scratch.take(kBlock * score_width(shape.most_keys));
    slopes = scratch.take(kBlock * score_width(shape.most_keys));
    tree_grad_keys = scratch.take(shape.most_tree_tokens * dim);
    tree_grad_values = scratch.take(shape.most_tree_tokens * dim);
  }
  static int64_t floats(const AttentionShape& shape) {
    const int64_t time = round_up_to_panel(shape.most_keys), dim = round_up_to_panel(shape.head_dim);
    return 6 * time * dim + kBlock * (3 * dim + 2 * score_width(shape.most_keys)) + 2 * shape.most_tree_tokens * dim + 13 * 16;
  }
};

// One block of queries under one head: writes grad_q, adds to grad_keys and grad_values.
template <typename T>
void backward_block(const AttentionBackward& args, int64_t head, int64_t first, int64_t count, int64_t keys,
                    const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = round_up_to_panel(dim), out_stride = shape.heads * dim;
  const int64_t time = round_up_to_panel(keys), row = score_width(keys);
  const int64_t seen = shape.limits[first + count - 1], limit = round_up_to_panel(seen);
  const T* out = static_cast<const T*>(args.out) + first * out_stride + head * dim;
  const T* grad_out = static_cast<const T*>(args.grad_out) + first * out_stride + head * dim;
  copy_rows(static_cast<const T*>(args.q) + first * shape.q_stride + head * dim, shape.q_stride, count, dim, width, shape.scale,
            s.queries);
  copy_rows(grad_out, out_stride, count, dim, width, 1.0f, s.grad_outputs);
  float logsumexps[kBlock], deltas[kBlock];
  for (int64_t i = 0; i < count; ++i) {
    logsumexps[i] = args.logsumexp[(first + i) * shape.heads + head];
    deltas[i] = dot(out + i * out_stride, grad_out + i * out_stride, dim);
  }
  small_matmul(count, limit, dim, {s.queries, width, 1}, panel_major(s.keys_across, width), s.scores, row, false);
  small_matmul(count, limit, dim, {s.grad_outputs, width, 1}, panel_major(s.values_across, width), s.slopes, row, false);
  slope_block(s.scores, s.slopes, row, limit, shape.limits + first, count, logsumexps, deltas);
  small_matmul(count, width, seen, {s.slopes, row, 1}, panel_major(s.key_panels, time), s.grad_queries, width, false);
  write_rows(s.grad_queries, width, count, dim, shape.scale, static_cast<T*>(args.grad_q) + first * out_stride + head * dim,
             out_stride);
  small_matmul(seen, width, count, {s.slopes, 1, row}, row_major(s.queries, width), s.grad_keys, width, true);
  small_matmul(seen, width, count, {s.scores, 1, row}, row_major(s.grad_outputs, width), s.grad_values, width, true);
}

// Fills grad_keys and grad_values with what this segment's queries give to all keys that they see.
template <typename T>
void backward_segment(const AttentionBackward& args, const AttentionTask& task, const AttentionSegment& segment,
                      const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = round_up_to_panel(dim), time = round_up_to_panel(segment.keys);
  const int64_t kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  fill_zero(s.grad_keys, segment.keys * width);
  fill_zero(s.grad_values, segment.keys * width);
  if (segment.queries_begin == segment.queries_end) return;
  const T *k = static_cast<const T*>(args.k) + kv_head * dim, *v = static_cast<const T*>(args.v) + kv_head * dim;
  gather_rows(shape, segment, segment.keys, v, shape.v_stride, time, width, s.keys);
  panels_across(s.keys, time, width, s.values_across);
  gather_rows(shape, segment, segment.keys, k, shape.k_stride, time, width, s.keys);
  panels_across(s.keys, time, width, s.keys_across);
  panels_of(s.keys, time, width, s.key_panels);
  // copy_rows fills whole vectors; what is left of a panel must not hold anything either.
  fill_zero(s.queries, kBlock * width);
  fill_zero(s.grad_outputs, kBlock * width);
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = segment.queries_begin; first < segment.queries_end; first += kBlock) {
      backward_block<T>(args, head, first, min_of(kBlock, segment.queries_end - first), segment.keys, s);
    }
  }
}

PRUDENT_VEC void add_rows(const float* from, int64_t floats, float* to) {
  for (int64_t i = 0; i < floats; i += kWidth) store(to + i, load(to + i) + load(from + i));
}

// backward_segment<T>, or what does the same.
template <typename T, typename Grad, typename Segment>
void backward_task(const AttentionBackward& args, const AttentionTask& task, const BackwardScratch& s, const Segment& fill) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, dim_width = round_up_to_panel(dim);
  const int64_t heads = args.per_head ? shape.heads : shape.kv_heads, stride = heads * dim;
  const int64_t head = args.per_head ? task.heads_begin : task.heads_begin / (shape.heads / shape.kv_heads);
  const auto write = [&](const float* keys, const float* values, int64_t start, int64_t count) {
    write_rows(keys, dim_width, count, dim, 1.0f, static_cast<Grad*>(args.grad_k) + start * stride + head * dim, stride);
    write_rows(values, dim_width, count, dim, 1.0f, static_cast<Grad*>(args.grad_v) + start * stride + head * dim, stride);
  };
  const AttentionSegment& root = shape.segments[task.segments_begin];
  const int64_t tree_start = shape.pieces[root.pieces_begin].start;
  if (task.segments_end - task.segments_begin == 1) {
    fill(args, task, root, s);
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
    fill(args, task, segment, s);
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
  const int64_t time = round_up_to_panel(args.shape.most_keys), dim = round_up_to_panel(args.shape.head_dim);
  int64_t floats = 3 * time * dim + kBlock * (2 * dim + score_width(args.shape.most_keys)) + 6 * 16;
#ifdef __AMX_BF16__
  if (args.shape.bf16) floats = tile_forward_floats(args.shape);
#endif
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    const bool few = task.queries_end - task.queries_begin <= kFewQueries;
    if (!args.shape.bf16) {
      few ? forward_few<float>(args, task, scratch) : forward_task<float>(args, task, scratch);
    } else if (few) {
      forward_few<Bf16>(args, task, scratch);
    } else {
#ifdef __AMX_BF16__
      tile_forward_task(args, task, scratch);
#else
      forward_task<Bf16>(args, task, scratch);
#endif
    }
  });
}

void attention_backward(const AttentionBackward& args) {
  int64_t floats = BackwardScratch::floats(args.shape);
#ifdef __AMX_BF16__
  if (args.shape.bf16) floats += TileBackwardScratch::floats(args.shape);
#endif
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    const BackwardScratch pieces(args.shape, scratch);
    if (!args.shape.bf16) {
      backward_task<float, float>(args, task, pieces, backward_segment<float>);
      return;
    }
#ifdef __AMX_BF16__
    const Tiles tiles;
    const TileBackwardScratch more(args.shape, scratch);
    const auto segment = [&](const AttentionBackward&, const AttentionTask&, const AttentionSegment& given, const BackwardScratch& s) {
      tile_backward_segment(args, task, given, more, s.grad_keys, s.grad_values);
    };
#else
    const auto segment = backward_segment<Bf16>;
#endif
    args.per_head ? backward_task<Bf16, float>(args, task, pieces, segment)
                  : backward_task<Bf16, Bf16>(args, task, pieces, segment);
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
