// How a product runs over blocks of results, whatever engine multiplies them (matmul_engine.h).
// The left operand is packed once, a slab of rows at a time, and shared by all threads. A task is a stretch of a slab's rows and
// a panel of columns; the panel of the right operand is packed, all of its depth where that fits, and stays in the second-level
// cache, unless it comes packed already (packed_weights.h) and is only fetched ahead. A block of results is summed up a chunk of
// depth at a time whose 32 rows stay in the first-level cache, and leaves through the epilogue.
// Sums run over depth in one fixed order: a row's result depends on neither the other rows nor the number of threads.
#pragma once

#include "kernels/common/isa_parallel.h"
#include "kernels/common/workspace.h"
#include "kernels/matmul/matmul_epilogue.h"
#include "kernels/matmul/matmul_kernel.h"
#include "kernels/matmul/matmul_pack.h"

namespace prudent::kernels::PRUDENT_ISA {

// What later blocks will read, asked for a little at each step of this one.
struct Ahead {
  const char* data = nullptr;
  int64_t lines_per_step = 0;
};
PRUDENT_VEC void fetch(const Ahead& ahead, int64_t step) {
  const char* line = ahead.data + step * ahead.lines_per_step * 64;
  for (int64_t i = 0; i < ahead.lines_per_step; ++i) __builtin_prefetch(line + i * 64, 0, 2);  // into the second-level cache
}

// Tasks of one slab: rows first_row .. end_row - 1, packed at `left`.
template <typename T, typename Out>
class Product {
 public:
  Product(const MatmulArgs& args, const Plan& plan, const char* left, int64_t first_row, int64_t end_row)
      : args_(args),
        plan_(plan),
        left_(left),
        first_row_(first_row),
        end_row_(end_row),
        packed_(static_cast<const char*>(args.packed_right)),
        epilogue_(args) {}

  void run(int64_t begin, int64_t end) {
    take_workspace();
    [[maybe_unused]] const Engine engine;
    int64_t packed_panel = -1;
    for (int64_t task = begin; task < end; ++task) {
      panel_ = task / plan_.row_tasks;
      task_row_ = first_row_ + task % plan_.row_tasks * plan_.task_rows;
      task_end_ = min_of(end_row_, task_row_ + plan_.task_rows);
      for (int64_t first = 0; first < plan_.chunks; first += plan_.group) {
        if (!plan_.whole() || panel_ != packed_panel) pack_panel(first);
        run_group(first);
      }
      packed_panel = panel_;
    }
    epilogue_.flush();
  }

 private:
  static constexpr int kPlanes = kPlanesOf<T>;

  // [packed panel][rows of blocks]: of all rows where groups of chunks are still to come, else of the one at hand and of the one
  // before, which the epilogue works on.
  void take_workspace() {
    const int64_t chunk_bytes = plan_.panel_blocks * plan_.chunk * plan_.step_bytes;
    const int64_t panel = packed_ != nullptr ? 0 : chunk_bytes * plan_.group;
    const int64_t block_rows = plan_.whole() ? 2 : plan_.task_rows / kBlock;
    const int64_t sums = block_rows * plan_.panel_blocks * kBlock * kBlock;
    panel_memory_ = static_cast<char*>(thread_workspace(static_cast<size_t>(panel + sums * 4)));
    sums_ = reinterpret_cast<float*>(panel_memory_ + panel);
  }

  int64_t panel_blocks() const { return min_of(plan_.panel_blocks, plan_.blocks - panel_ * plan_.panel_blocks); }
  int64_t chunk_steps(int64_t chunk) const { return min_of(plan_.chunk, plan_.steps - chunk * plan_.chunk); }

  const char* left_block(int64_t row, int64_t chunk) const {
    return left_ + (row - first_row_) / kBlock * plan_.block_bytes + chunk * plan_.chunk * plan_.step_bytes;
  }
  // Of an operand that came packed.
  const char* given_block(int64_t panel, int64_t chunk, int64_t b) const {
    return packed_ + (panel * plan_.panel_blocks + b) * plan_.block_bytes + chunk * plan_.chunk * plan_.step_bytes;
  }
  char* own_block(int64_t chunk, int64_t b) const {
    return panel_memory_ + (chunk % plan_.group * plan_.panel_blocks + b) * plan_.chunk * plan_.step_bytes;
  }

  int64_t group_end(int64_t first_chunk) const { return min_of(plan_.chunks, first_chunk + plan_.group); }

  void pack_panel(int64_t first_chunk) {
    if (packed_ != nullptr) return;
    for (int64_t b = 0; b < panel_blocks(); ++b) {
      for (int64_t chunk = first_chunk; chunk < group_end(first_chunk); ++chunk) {
        const int64_t step = chunk * plan_.chunk;
        pack_right<RightItem<T>>(args_, plan_, panel_ * plan_.panel_blocks + b, step, step + chunk_steps(chunk),
                                 own_block(chunk, b));
      }
    }
  }

  // Where a row of blocks is summed up. Never where the one before is, which may still wait for its epilogue.
  float* row_sums(int64_t row) {
    turn_ = 1 - turn_;
    const int64_t place = plan_.whole() ? turn_ : (row - task_row_) / kBlock;
    return sums_ + place * plan_.panel_blocks * kBlock * kBlock;
  }

  // The rows of a task against the packed chunks. Sums of groups that are still to come wait in memory.
  void run_group(int64_t first_chunk) {
    for (int64_t row = task_row_; row < task_end_; row += kBlock) {
      float* sums = row_sums(row);
      for (int64_t chunk = first_chunk; chunk < group_end(first_chunk); ++chunk) run_block_row(row, chunk, sums);
    }
    // The next panel's sums take the place of these.
    if (!plan_.whole()) epilogue_.flush();
  }

  // The part b of `parts` of the left block that comes after this one.
  Ahead ahead_of_left(int64_t row, int64_t chunk, int64_t b, int64_t steps) const {
    const bool same_row = chunk + 1 < group_end(chunk / plan_.group * plan_.group);
    const int64_t next_row = same_row ? row : row + kBlock;
    const int64_t next_chunk = same_row ? chunk + 1 : chunk / plan_.group * plan_.group;
    if (next_row >= task_end_) return {};
    return part(left_block(next_row, next_chunk), b, panel_blocks(), steps);
  }

  // The part of block b of the next panel, or of the next group, that is this block row's to fetch.
  Ahead ahead_of_right(int64_t row, int64_t chunk, int64_t b, int64_t steps) const {
    if (packed_ == nullptr) return {};
    const bool same_panel = chunk + plan_.group < plan_.chunks;
    const int64_t panel = same_panel ? panel_ : panel_ + 1;
    const int64_t next_chunk = same_panel ? chunk + plan_.group : chunk % plan_.group;
    if (panel * plan_.panel_blocks + b >= plan_.blocks) return {};
    return part(given_block(panel, next_chunk, b), (row - task_row_) / kBlock, ceil_div(task_end_ - task_row_, kBlock), steps);
  }

  Ahead part(const char* block, int64_t index, int64_t parts, int64_t steps) const {
    const int64_t lines = ceil_div(ceil_div(plan_.chunk * plan_.step_bytes / 64, parts), steps);
    const int64_t first = index * lines * steps * 64;
    if (first >= plan_.chunk * plan_.step_bytes) return {};
    return {block + first, lines};
  }

  void run_block_row(int64_t row, int64_t chunk, float* sums) {
    const int64_t steps = chunk_steps(chunk), count = panel_blocks();
    const char* left = left_block(row, chunk);
    for (int64_t b = 0; b < count; ++b) {
      float* block = sums + b * kBlock * kBlock;
      const char* right = packed_ != nullptr ? given_block(panel_, chunk, b) : own_block(chunk, b);
      const Ahead next_left = ahead_of_left(row, chunk, b, steps), next_right = ahead_of_right(row, chunk, b, steps);
      const BlockProduct product{left, right, steps, min_of(kBlock, task_end_ - row), chunk > 0};
      multiply_block<kPlanes>(
          product, block, [&](int64_t step) __attribute__((always_inline)) {
            fetch(next_left, step);
            fetch(next_right, step);
            if constexpr (kFinishesMeanwhile) epilogue_.advance();
          });
      if (chunk + 1 == plan_.chunks) {
        finish_block(args_, (panel_ * plan_.panel_blocks + b) * plan_.block_columns, product.rows,
                     left + steps * plan_.step_bytes, block);
      }
    }
    if (chunk + 1 < plan_.chunks) return;
    epilogue_.take(sums, count, row, min_of(kBlock, task_end_ - row), panel_ * plan_.panel_blocks * plan_.block_columns,
                   plan_.block_columns, plan_.whole() ? plan_.steps : steps);
  }

  const MatmulArgs& args_;
  const Plan& plan_;
  const char* left_;
  int64_t first_row_, end_row_;
  const char* packed_;  // all of the right operand, or null
  int64_t panel_ = 0, task_row_ = 0, task_end_ = 0;
  char* panel_memory_ = nullptr;
  float* sums_ = nullptr;
  int64_t turn_ = 0;
  Epilogue<T, Out> epilogue_;
};

// The slab of rows first .. end - 1, packed now unless it came so.
template <typename T>
const char* packed_slab(const MatmulArgs& args, const Plan& plan, int64_t first, int64_t end) {
  if (args.left_tiles != nullptr) return static_cast<const char*>(args.left_tiles) + first / kBlock * plan.block_bytes;
  char* left = static_cast<char*>(shared_workspace(static_cast<size_t>(plan.slab_rows / kBlock * plan.block_bytes)));
  parallel_for(ceil_div(end - first, kBlock), 1, [&](int64_t begin, int64_t last) {
    for (int64_t b = begin; b < last; ++b) {
      pack_left<T>(args, plan, first + b * kBlock, end, left + b * plan.block_bytes);
    }
  });
  return left;
}

template <typename T, typename Out>
void run_as(const MatmulArgs& args) {
  const Plan plan(args, kPlanesOf<T>, chunk_depth<T>);
  for (int64_t row = 0; row < args.rows; row += plan.slab_rows) {
    const int64_t end_row = min_of(args.rows, row + plan.slab_rows);
    const char* left = packed_slab<T>(args, plan, row, end_row);
    Plan slab = plan;
    slab.row_tasks = ceil_div(end_row - row, plan.task_rows);
    parallel_for(plan.panels * slab.row_tasks, 1,
                 [&](int64_t begin, int64_t end) { Product<T, Out>(args, slab, left, row, end_row).run(begin, end); });
  }
}

PRUDENT_VEC void run(const MatmulArgs& args) {
  if (!args.bf16) return run_as<float, float>(args);
  args.out_bf16 ? run_as<Bf16, Bf16>(args) : run_as<Bf16, float>(args);
}

PRUDENT_VEC int64_t packed_bytes(const MatmulArgs& args) {
  const Packed packed(args, args.bf16 ? kPlanesOf<Bf16> : kPlanesOf<float>);
  return packed.blocks * packed.block_bytes;
}

PRUDENT_VEC void pack_right_whole(const MatmulArgs& args, void* to) {
  args.bf16 ? pack_all<Bf16>(args, static_cast<char*>(to)) : pack_all<float>(args, static_cast<char*>(to));
}

}  // namespace prudent::kernels::PRUDENT_ISA
