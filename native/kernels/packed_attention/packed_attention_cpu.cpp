// A task is a segment (forward) or a tree of segments (backward) under one key/value head. The keys that a segment sees are laid
// out once, then the query heads of the group pass over them in blocks of queries; a block sees keys up to its own last query
// only, so the upper triangle costs next to nothing. No tensor of [time, time] exists, and short rows cost no call into a
// matrix library.
#include "kernels/common/small_matmul.h"
#include "kernels/packed_attention/attention_tasks.h"
#include "kernels/packed_attention/attention_transpose.h"

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

// Scratch of a backward task: one segment's keys in the layouts that its products need, and one block of queries.
struct BackwardScratch {
  float *keys, *key_panels, *keys_across, *values_across;  // [time, dim] as rows, panels, panels of the transpose
  float *queries, *grad_outputs, *grad_queries;            // [block, dim]
  float *scores, *slopes;                                  // [block, time]

  BackwardScratch(const AttentionShape& shape, Scratch& scratch) {
    const int64_t time = round_up_to_panel(shape.most_keys), dim = round_up_to_panel(shape.head_dim);
    keys = scratch.take(time * dim);
    key_panels = scratch.take(time * dim);
    keys_across = scratch.take(time * dim);
    values_across = scratch.take(time * dim);
    queries = scratch.take(kBlock * dim);
    grad_outputs = scratch.take(kBlock * dim);
    grad_queries = scratch.take(kBlock * dim);
    scores = scratch.take(kBlock * score_width(shape.most_keys));
    slopes = scratch.take(kBlock * score_width(shape.most_keys));
  }
  static int64_t floats(const AttentionShape& shape) {
    const int64_t time = round_up_to_panel(shape.most_keys), dim = round_up_to_panel(shape.head_dim);
    return 4 * time * dim + kBlock * (3 * dim + 2 * score_width(shape.most_keys)) + 9 * 16;
  }
};

// One block of queries under one head: writes grad_q, adds to grad_keys and grad_values.
template <typename T>
void backward_block(const AttentionBackward& args, int64_t head, int64_t first, int64_t count, int64_t keys,
                    const BackwardScratch& s, const TaskGradients& gradients) {
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
  small_matmul(seen, width, count, {s.slopes, 1, row}, row_major(s.queries, width), gradients.keys, width, true);
  small_matmul(seen, width, count, {s.scores, 1, row}, row_major(s.grad_outputs, width), gradients.values, width, true);
}

template <typename T>
void backward_segment(const AttentionBackward& args, const AttentionTask& task, const AttentionSegment& segment,
                      const BackwardScratch& s, const TaskGradients& gradients) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = round_up_to_panel(dim), time = round_up_to_panel(segment.keys);
  const int64_t kv_head = task.heads_begin / (shape.heads / shape.kv_heads);
  fill_zero(gradients.keys, segment.keys * width);
  fill_zero(gradients.values, segment.keys * width);
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
      backward_block<T>(args, head, first, min_of(kBlock, segment.queries_end - first), segment.keys, s, gradients);
    }
  }
}

template <typename T, typename Grad>
void backward_task(const AttentionBackward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const TaskGradients gradients(shape, round_up_to_panel(shape.head_dim), round_up_to_panel(shape.most_keys), scratch);
  const BackwardScratch pieces(shape, scratch);
  add_up_tree<Grad>(args, task, gradients,
                    [&](const AttentionSegment& segment) { backward_segment<T>(args, task, segment, pieces, gradients); });
}

}  // namespace

void attention_forward(const AttentionForward& args) {
  const int64_t time = round_up_to_panel(args.shape.most_keys), dim = round_up_to_panel(args.shape.head_dim);
  const int64_t floats = 3 * time * dim + kBlock * (2 * dim + score_width(args.shape.most_keys)) + 6 * 16;
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    const bool few = task.queries_end - task.queries_begin <= kFewQueries;
    if (args.shape.bf16) {
      few ? forward_few<Bf16>(args, task, scratch) : forward_task<Bf16>(args, task, scratch);
    } else {
      few ? forward_few<float>(args, task, scratch) : forward_task<float>(args, task, scratch);
    }
  });
}

void attention_backward(const AttentionBackward& args) {
  const int64_t time = round_up_to_panel(args.shape.most_keys), dim = round_up_to_panel(args.shape.head_dim);
  const int64_t floats = BackwardScratch::floats(args.shape) + TaskGradients::floats(args.shape, dim, time);
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    if (!args.shape.bf16) {
      backward_task<float, float>(args, task, scratch);
    } else if (args.per_head) {
      backward_task<Bf16, float>(args, task, scratch);
    } else {
      backward_task<Bf16, Bf16>(args, task, scratch);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
