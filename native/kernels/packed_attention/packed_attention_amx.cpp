// Attention in bf16 on AMX tiles: as packed_attention_cpu.cpp, with every product in tiles (attention_tiles.h).
#include "kernels/packed_attention/attention_tasks.h"
#include "kernels/packed_attention/attention_tiles.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr float kLog2E = 1.44269504f;

// Rows of a segment's chain as they are, [rows, width], zeros where there is nothing.
void gather_halves(const AttentionShape& shape, const AttentionSegment& segment, int64_t seen, const void* from, int64_t offset,
                   int64_t stride, int64_t rows, int64_t width, uint16_t* to) {
  const auto* source = static_cast<const uint16_t*>(from) + offset;
  const int64_t dim = shape.head_dim;
  const auto zero = [&](uint16_t* at, int64_t count) { __builtin_memset(at, 0, static_cast<size_t>(count) * 2); };
  each_piece(shape, segment, seen, [&](int64_t start, int64_t count, int64_t place) {
    for (int64_t t = 0; t < count; ++t) {
      uint16_t* row = to + (place + t) * width;
      __builtin_memcpy(row, source + (start + t) * stride, static_cast<size_t>(dim) * 2);
      zero(row + dim, width - dim);
    }
  });
  zero(to + seen * width, (rows - seen) * width);
}

// Rows first .. first + count - 1 of one head, [rows, width], zeros where there is nothing.
void copy_halves(const void* from, int64_t offset, int64_t stride, int64_t count, int64_t dim, int64_t rows, int64_t width,
                 uint16_t* to) {
  const auto* source = static_cast<const uint16_t*>(from) + offset;
  for (int64_t t = 0; t < count; ++t) {
    __builtin_memcpy(to + t * width, source + t * stride, static_cast<size_t>(dim) * 2);
    __builtin_memset(to + t * width + dim, 0, static_cast<size_t>(width - dim) * 2);
  }
  __builtin_memset(to + count * width, 0, static_cast<size_t>((rows - count) * width) * 2);
}

constexpr int64_t kBlock = kAttentionBlock;

int64_t forward_floats(const AttentionShape& shape) {
  const int64_t time = round_up_to(32, shape.most_keys), dim = round_up_to(32, shape.head_dim);
  return 3 * time * dim / 2 + kBlock * (dim / 2 + time / 2 + time + dim) + 8 * 16;
}

void forward_task(const AttentionForward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const AttentionSegment& segment = shape.segments[task.segments_begin];
  const int64_t dim = shape.head_dim, width = round_up_to(32, dim), out_stride = shape.heads * dim;
  const int64_t keys_seen = shape.limits[task.queries_end - 1], time = round_up_to(32, keys_seen);
  const int64_t kv_offset = task.heads_begin / (shape.heads / shape.kv_heads) * dim;
  uint16_t* rows = scratch.take_halves(time * width);
  uint16_t* keys = scratch.take_halves(time * width);       // across
  uint16_t* values = scratch.take_halves(time * width);     // pairs
  uint16_t* queries = scratch.take_halves(kBlock * width);  // [block, dim]
  uint16_t* weights = scratch.take_halves(kBlock * time);   // [block, time]
  float* scores = scratch.take(kBlock * time);              // [block, time]
  float* outputs = scratch.take(kBlock * width);            // [block, dim]
  gather_halves(shape, segment, keys_seen, args.k, kv_offset, shape.k_stride, time, width, rows);
  pack_across(rows, time, width, keys);
  gather_halves(shape, segment, keys_seen, args.v, kv_offset, shape.v_stride, time, width, rows);
  pack_pairs(rows, time, width, values);
  const Tiles tiles;
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = task.queries_begin; first < task.queries_end; first += kBlock) {
      const int64_t count = min_of(kBlock, task.queries_end - first), height = round_up_to(16, count);
      const int64_t seen = round_up_to(32, shape.limits[first + count - 1]);
      copy_halves(args.q, first * shape.q_stride + head * dim, shape.q_stride, count, dim, height, width, queries);
      tile_product(height, seen, width, queries, width, across_source(keys, width), scores, time, false);
      RowSoftmax rows_of[kBlock];
      for (int64_t i = 0; i < count; ++i) {
        rows_of[i] = softmax_row(scores + i * time, seen, shape.limits[first + i], shape.scale * kLog2E, weights + i * time);
      }
      tile_product(height, width, seen, weights, time, pairs_source(values, width), outputs, width, false);
      for (int64_t i = 0; i < count; ++i) {
        args.logsumexp[(first + i) * shape.heads + head] = rows_of[i].max * shape.scale + __builtin_logf(rows_of[i].sum);
        write_rows(outputs + i * width, width, 1, dim, 1.0f / rows_of[i].sum,
                   static_cast<Bf16*>(args.out) + (first + i) * out_stride + head * dim, out_stride);
      }
    }
  }
}

// The gradients of keys and values are sums over queries: two steps of depth at a time, so that a tile of them is loaded and
// stored half as often.
constexpr int64_t kGradBlock = 2 * kAttentionBlock;

struct BackwardScratch {
  uint16_t *rows, *keys_across, *values_across, *key_pairs;  // [time, dim] in three layouts
  uint16_t *queries, *grad_outputs, *pairs;                  // [block, dim]
  uint16_t *queries_transposed, *grad_outputs_transposed;    // [dim, block]
  uint16_t *slopes, *slope_pairs, *weight_pairs;             // [block, time]
  float *scores, *grads;                                     // [block, time]
  float* grad_queries;                                       // [block, dim]
  float *grad_keys_transposed, *grad_values_transposed;      // [dim, time]

  BackwardScratch(const AttentionShape& shape, Scratch& scratch) {
    const int64_t time = round_up_to(32, shape.most_keys), dim = round_up_to(32, shape.head_dim);
    rows = scratch.take_halves(time * dim);
    keys_across = scratch.take_halves(time * dim);
    values_across = scratch.take_halves(time * dim);
    key_pairs = scratch.take_halves(time * dim);
    queries = scratch.take_halves(kGradBlock * dim);
    grad_outputs = scratch.take_halves(kGradBlock * dim);
    pairs = scratch.take_halves(kGradBlock * dim);
    queries_transposed = scratch.take_halves(kGradBlock * dim);
    grad_outputs_transposed = scratch.take_halves(kGradBlock * dim);
    slopes = scratch.take_halves(kGradBlock * time);
    slope_pairs = scratch.take_halves(kGradBlock * time);
    weight_pairs = scratch.take_halves(kGradBlock * time);
    scores = scratch.take(kGradBlock * time);
    grads = scratch.take(kGradBlock * time);
    grad_queries = scratch.take(kGradBlock * dim);
    grad_keys_transposed = scratch.take(time * dim);
    grad_values_transposed = scratch.take(time * dim);
  }
  static int64_t floats(const AttentionShape& shape) {
    const int64_t time = round_up_to(32, shape.most_keys), dim = round_up_to(32, shape.head_dim);
    return 4 * time * dim + kGradBlock * (7 * dim / 2 + 7 * time / 2) + 17 * 16;
  }
};

// One block of queries under one head: writes grad_q, adds to the transposed gradients of keys and values.
void backward_block(const AttentionBackward& args, int64_t head, int64_t first, int64_t count, int64_t time,
                    const BackwardScratch& s) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = round_up_to(32, dim), out_stride = shape.heads * dim;
  const int64_t height = round_up_to(32, count), seen = round_up_to(32, shape.limits[first + count - 1]);
  const Bf16* out = static_cast<const Bf16*>(args.out) + first * out_stride + head * dim;
  const Bf16* grad_out = static_cast<const Bf16*>(args.grad_out) + first * out_stride + head * dim;
  copy_halves(args.q, first * shape.q_stride + head * dim, shape.q_stride, count, dim, height, width, s.queries);
  copy_halves(grad_out, 0, out_stride, count, dim, height, width, s.grad_outputs);
  QuerySlope slopes[kGradBlock];
  for (int64_t i = 0; i < height; ++i) {
    slopes[i] = {0.0f, 0.0f, 0};
    if (i >= count) continue;
    slopes[i] = {args.logsumexp[(first + i) * shape.heads + head] * kLog2E,
                 dot(out + i * out_stride, grad_out + i * out_stride, dim), shape.limits[first + i]};
  }
  tile_product(height, seen, width, s.queries, width, across_source(s.keys_across, width), s.scores, time, false);
  tile_product(height, seen, width, s.grad_outputs, width, across_source(s.values_across, width), s.grads, time, false);
  for (int64_t i = 0; i < height; i += 2) {
    slope_rows(s.scores + i * time, s.grads + i * time, time, seen, shape.scale * kLog2E, slopes + i, s.weight_pairs + i * time,
               s.slope_pairs + i * time, s.slopes + i * time);
  }
  tile_product(height, width, seen, s.slopes, time, pairs_source(s.key_pairs, width), s.grad_queries, width, false);
  write_rows(s.grad_queries, width, count, dim, shape.scale, static_cast<Bf16*>(args.grad_q) + first * out_stride + head * dim,
             out_stride);
  pack_transposed(s.queries, height, width, s.pairs, s.queries_transposed);
  pack_transposed(s.grad_outputs, height, width, s.pairs, s.grad_outputs_transposed);
  tile_product(width, seen, height, s.queries_transposed, height, pairs_source(s.slope_pairs, time), s.grad_keys_transposed, time,
               true);
  tile_product(width, seen, height, s.grad_outputs_transposed, height, pairs_source(s.weight_pairs, time),
               s.grad_values_transposed, time, true);
}

// [dim, time] -> [keys, dim padded to 32], times `factor`.
void write_transposed(const float* from, int64_t time, int64_t keys, int64_t dim, float factor, float* to) {
  const int64_t width = round_up_to(32, dim);
  alignas(64) float square[256];
  for (int64_t t = 0; t < keys; t += 16) {
    for (int64_t j = 0; j < width; j += 16) {
      transpose_dwords(reinterpret_cast<const uint32_t*>(from + j * time + t), time, reinterpret_cast<uint32_t*>(square), 16);
      for (int64_t i = 0; i < min_of(16, keys - t); ++i) store(to + (t + i) * width + j, load(square + 16 * i) * factor);
    }
  }
}

void backward_segment(const AttentionBackward& args, const AttentionTask& task, const AttentionSegment& segment,
                      const BackwardScratch& s, const TaskGradients& gradients) {
  const AttentionShape& shape = args.shape;
  const int64_t dim = shape.head_dim, width = round_up_to(32, dim), time = round_up_to(32, segment.keys);
  const int64_t kv_offset = task.heads_begin / (shape.heads / shape.kv_heads) * dim;
  gather_halves(shape, segment, segment.keys, args.k, kv_offset, shape.k_stride, time, width, s.rows);
  pack_across(s.rows, time, width, s.keys_across);
  pack_pairs(s.rows, time, width, s.key_pairs);
  gather_halves(shape, segment, segment.keys, args.v, kv_offset, shape.v_stride, time, width, s.rows);
  pack_across(s.rows, time, width, s.values_across);
  fill_zero(s.grad_keys_transposed, time * width);
  fill_zero(s.grad_values_transposed, time * width);
  for (int64_t head = task.heads_begin; head < task.heads_end; ++head) {
    for (int64_t first = segment.queries_begin; first < segment.queries_end; first += kGradBlock) {
      backward_block(args, head, first, min_of(kGradBlock, segment.queries_end - first), time, s);
    }
  }
  write_transposed(s.grad_keys_transposed, time, segment.keys, dim, shape.scale, gradients.keys);
  write_transposed(s.grad_values_transposed, time, segment.keys, dim, 1.0f, gradients.values);
}

template <typename Grad>
void backward_task(const AttentionBackward& args, const AttentionTask& task, Scratch& scratch) {
  const AttentionShape& shape = args.shape;
  const TaskGradients gradients(shape, round_up_to(32, shape.head_dim), round_up_to(32, shape.most_keys), scratch);
  const BackwardScratch pieces(shape, scratch);
  const Tiles tiles;
  add_up_tree<Grad>(args, task, gradients,
                    [&](const AttentionSegment& segment) { backward_segment(args, task, segment, pieces, gradients); });
}

}  // namespace

void attention_forward_tiles(const AttentionForward& args) {
  each_task(args.shape, forward_floats(args.shape), [&](const AttentionTask& task, Scratch& scratch) {
    if (task.queries_end - task.queries_begin <= kFewQueries) {
      forward_few<Bf16>(args, task, scratch);
    } else {
      forward_task(args, task, scratch);
    }
  });
}

void attention_backward_tiles(const AttentionBackward& args) {
  const int64_t time = round_up_to(32, args.shape.most_keys), dim = round_up_to(32, args.shape.head_dim);
  const int64_t floats = BackwardScratch::floats(args.shape) + TaskGradients::floats(args.shape, dim, time);
  each_task(args.shape, floats, [&](const AttentionTask& task, Scratch& scratch) {
    args.per_head ? backward_task<float>(args, task, scratch) : backward_task<Bf16>(args, task, scratch);
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
