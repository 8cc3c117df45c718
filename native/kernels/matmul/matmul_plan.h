// How a product is cut.
#pragma once

#include "kernels/common/isa_parallel.h"
#include "kernels/matmul/matmul_engine.h"
#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

// Packed right operand of a panel: with all chunks of depth where they fit, else a group of chunks at a time.
constexpr int64_t kWholeBytes = 896 * 1024;
constexpr int64_t kGroupBytes = 384 * 1024;
// Of a product of few rows the next panel comes from memory while this one is multiplied; the first one comes unhidden.
constexpr int64_t kFetchedBytes = 192 * 1024;
constexpr int64_t kFewRows = 256;
constexpr int64_t kFewestBlocks = 8;  // of a whole panel: a narrower one reads the left operand too often
constexpr int64_t kWholeSlabRows = 4096;
constexpr int64_t kGroupSlabRows = 512;  // their sums stay in the second-level cache too
constexpr int64_t kSlabBytes = 32 * 1024 * 1024;
constexpr int64_t kBlocksPerThread = 8;  // fewer columns than that are not cut over threads alone, rows are too

PRUDENT_VEC int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a packed operand lies: block after block of 32 rows or columns, each [step of depth][plane][2 tiles] and the block's end.
// A block of a gated product holds 16 columns of the second factor and the same 16 of the gate.
struct Packed {
  int64_t steps, step_bytes, block_bytes;
  int64_t block_columns, blocks;  // of the right operand

  Packed(const MatmulArgs& args, int planes) {
    steps = ceil_div(args.depth, kTileDepth);
    step_bytes = 2 * kTileBytes * planes;
    block_bytes = steps * step_bytes + kBlockEndBytes;
    block_columns = args.gate_right.data != nullptr ? kTile : kBlock;
    blocks = ceil_div(args.columns, block_columns);
  }
};

// How the product is cut.
struct Plan : Packed {
  int64_t chunk, chunks;         // steps of a chunk, and how many there are
  int64_t group;                 // chunks that are packed at once
  int64_t panel_blocks, panels;  // blocks of a panel, and how many panels there are
  int64_t slab_rows;             // rows whose left operand is packed at once
  int64_t row_tasks, task_rows;  // of a slab

  // Chunks of at most `most_depth`.
  Plan(const MatmulArgs& args, int planes, int64_t most_depth) : Packed(args, planes) {
    chunks = ceil_div(steps * kTileDepth, most_depth);
    chunk = ceil_div(steps, chunks);
    chunks = ceil_div(steps, chunk);
    const int64_t chunk_bytes = chunk * step_bytes;
    const bool few_rows = args.rows <= kFewRows;
    if (kWholeBytes / block_bytes >= kFewestBlocks) {
      group = chunks;
    } else {
      // A chunk of depth is a short piece of memory where depth is contiguous, and few rows do not hide the wait for it.
      const bool pieces = few_rows && args.right.depth_contiguous && args.packed_right == nullptr;
      group = pieces ? even_part(chunks, kGroupBytes / (kFewestBlocks * chunk_bytes)) : 1;
    }
    const bool fetched = few_rows && args.packed_right != nullptr;
    const int64_t most =
        fetched ? ceil_div(kFetchedBytes, group * chunk_bytes) : (whole() ? kWholeBytes : kGroupBytes) / (group * chunk_bytes);
    const int64_t row_limit = min_of(kSlabBytes / block_bytes * kBlock, whole() ? kWholeSlabRows : kGroupSlabRows);
    slab_rows = even_part(ceil_div(args.rows, kBlock), row_limit / kBlock) * kBlock;
    cut_tasks(most < 1 ? 1 : most);
  }

  [[nodiscard]] bool whole() const { return group == chunks; }

 private:
  // `count` in equal parts of at most `most`: the size of a part.
  static int64_t even_part(int64_t count, int64_t most) { return ceil_div(count, ceil_div(count, most < 1 ? 1 : most)); }

  // As many tasks as threads, or a multiple; columns are cut first, for then no thread packs what another packs too.
  void cut_tasks(int64_t most_blocks) {
    const int64_t threads = parallel_threads();
    row_tasks = blocks >= kBlocksPerThread * threads ? 1 : min_of(threads, slab_rows / kBlock);
    task_rows = ceil_div(slab_rows / kBlock, row_tasks) * kBlock;
    row_tasks = ceil_div(slab_rows, task_rows);
    const int64_t step = ceil_div(threads, row_tasks);
    panels = min_of(ceil_div(ceil_div(blocks, most_blocks), step) * step, blocks);
    panel_blocks = ceil_div(blocks, panels);
    panels = ceil_div(blocks, panel_blocks);
  }
};

}  // namespace prudent::kernels::PRUDENT_ISA
