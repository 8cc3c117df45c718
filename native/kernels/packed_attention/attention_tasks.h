// How the CPU versions of packed attention go through a plan: tasks over threads, a handful of queries by themselves, and the
// gradients of a tree of segments added up. For _cpu.cpp and _amx.cpp files.
#pragma once

#include "kernels/common/isa_parallel.h"
#include "kernels/packed_attention/attention_direct.h"
#include "kernels/packed_attention/attention_scratch.h"

namespace prudent::kernels::PRUDENT_ISA {

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

// Queries of a task for whose sake its keys are not laid out.
constexpr int64_t kFewQueries = 4;

template <typename T>
__attribute__((noinline)) static void forward_few(const AttentionForward& args, const AttentionTask& task, Scratch& scratch) {
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
        const float best = direct_scores(q, k + start * shape.k_stride, shape.k_stride, count, dim, shape.scale, weights + place);
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

PRUDENT_VEC void add_rows(const float* from, int64_t floats, float* to) {
  for (int64_t i = 0; i < floats; i += kWidth) store(to + i, load(to + i) + load(from + i));
}

// Of one task: [keys, width] of the segment at hand, and [tokens of the tree, width] where several segments add up.
struct TaskGradients {
  int64_t width;  // head_dim, padded
  float *keys, *values, *tree_keys, *tree_values;

  TaskGradients(const AttentionShape& shape, int64_t padded_dim, int64_t padded_keys, Scratch& scratch) : width(padded_dim) {
    keys = scratch.take(padded_keys * width);
    values = scratch.take(padded_keys * width);
    tree_keys = scratch.take(shape.most_tree_tokens * width);
    tree_values = scratch.take(shape.most_tree_tokens * width);
  }
  static int64_t floats(const AttentionShape& shape, int64_t padded_dim, int64_t padded_keys) {
    return 2 * (padded_keys + shape.most_tree_tokens) * padded_dim + 4 * 16;
  }
};

// fill(segment) writes grad_q of the segment's queries and leaves in gradients.keys and .values what they give to all keys that
// they see.
template <typename Grad, typename Fill>
PRUDENT_VEC void add_up_tree(const AttentionBackward& args, const AttentionTask& task, const TaskGradients& gradients,
                             const Fill& fill) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = gradients.width;
  const int64_t heads = args.per_head ? shape.heads : shape.kv_heads, stride = heads * dim;
  const int64_t head = args.per_head ? task.heads_begin : task.heads_begin / (shape.heads / shape.kv_heads);
  const auto write = [&](const float* keys, const float* values, int64_t start, int64_t count) {
    write_rows(keys, width, count, dim, 1.0f, static_cast<Grad*>(args.grad_k) + start * stride + head * dim, stride);
    write_rows(values, width, count, dim, 1.0f, static_cast<Grad*>(args.grad_v) + start * stride + head * dim, stride);
  };
  const AttentionSegment& root = shape.segments[task.segments_begin];
  const int64_t tree_start = shape.pieces[root.pieces_begin].start;
  if (task.segments_end - task.segments_begin == 1 && root.queries_begin < root.queries_end) {
    fill(root);
    write(gradients.keys, gradients.values, tree_start, root.keys);
    return;
  }
  const AttentionPiece& last = shape.pieces[shape.segments[task.segments_end - 1].pieces_end - 1];
  const int64_t tokens = last.start + last.count - tree_start;
  fill_zero(gradients.tree_keys, tokens * width);
  fill_zero(gradients.tree_values, tokens * width);
  for (int64_t i = task.segments_begin; i < task.segments_end; ++i) {
    const AttentionSegment& segment = shape.segments[i];
    if (segment.queries_begin == segment.queries_end) continue;
    fill(segment);
    each_piece(shape, segment, segment.keys, [&](int64_t start, int64_t count, int64_t place) {
      const int64_t to = (start - tree_start) * width, from = place * width;
      add_rows(gradients.keys + from, count * width, gradients.tree_keys + to);
      add_rows(gradients.values + from, count * width, gradients.tree_values + to);
    });
  }
  write(gradients.tree_keys, gradients.tree_values, tree_start, tokens);
}

}  // namespace prudent::kernels::PRUDENT_ISA
