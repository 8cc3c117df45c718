// The left operand is packed once, a slab of rows at a time, and shared by all threads. A task is a stretch of a slab's rows and
// a panel of columns; the panel of the right operand is packed into tiles, all of its depth where that fits, and stays in the
// second-level cache, unless it comes packed already (packed_weights.h) and is only fetched ahead. A result of 32 x 32 is summed
// in four tiles, a chunk of depth at a time whose 32 rows stay in the first-level cache, and leaves them through the epilogue.
// Sums run over depth in one fixed order: a row's result depends on neither the other rows nor the number of threads.
//
// fp32: a = a1 + a2 + a3 in bf16 planes, and a b = a1 b1 + (a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1), what is left out being below
// 2^-24 of |a| |b|. The five small products are summed first, so that the long sum of the large ones is rounded as in fp32.
#include "kernels/common/amx.h"
#include "kernels/common/isa_parallel.h"
#include "kernels/common/workspace.h"
#include "kernels/geglu/geglu_math.h"
#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kBlock = 2 * kTile;  // rows, and columns of a result block
// Depth of one chunk, a multiple of kTileDepth: 32 rows of it leave room in the first-level cache. By number of planes.
constexpr int64_t kChunkDepth[] = {0, 256, 0, 96};
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

// What later blocks will read, asked for a little at each step of this one.
struct Ahead {
  const char* data = nullptr;
  int64_t lines_per_step = 0;
};
PRUDENT_VEC void fetch(const Ahead& ahead, int64_t step) {
  const char* line = ahead.data + step * ahead.lines_per_step * 64;
  for (int64_t i = 0; i < ahead.lines_per_step; ++i) _mm_prefetch(line + i * 64, _MM_HINT_T1);
}

// Four result tiles += left block x right block over `steps` steps of depth. A step of a packed block is
// [plane][2 tiles]: its rows or columns 0-15 and 16-31.
template <int kPlanes, int kLeft, int kRight>
PRUDENT_VEC void multiply_planes(const char* left, const char* right, int64_t steps, const Ahead& ahead_left,
                                 const Ahead& ahead_right) {
  constexpr int64_t kStep = kPlanes * 2 * kTileBytes;
  left += kLeft * 2 * kTileBytes;
  right += kRight * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    _tile_loadd(6, right, 64);
    _tile_loadd(4, left, 64);
    _tile_loadd(7, right + kTileBytes, 64);
    _tile_loadd(5, left + kTileBytes, 64);
    fetch(ahead_left, s);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    fetch(ahead_right, s);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

#define PRUDENT_LOAD_LEFT(plane)                     \
  _tile_loadd(4, left + (plane)*2 * kTileBytes, 64); \
  _tile_loadd(5, left + (plane)*2 * kTileBytes + kTileBytes, 64)
#define PRUDENT_LOAD_RIGHT(plane)                     \
  _tile_loadd(6, right + (plane)*2 * kTileBytes, 64); \
  _tile_loadd(7, right + (plane)*2 * kTileBytes + kTileBytes, 64)
#define PRUDENT_MULTIPLY() \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

// The five small products; neighbours in the order share an operand, so six pairs of tiles are loaded instead of ten.
PRUDENT_VEC void multiply_small_planes(const char* left, const char* right, int64_t steps, const Ahead& ahead_left,
                                       const Ahead& ahead_right) {
  constexpr int64_t kStep = 3 * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    PRUDENT_LOAD_RIGHT(0);
    PRUDENT_LOAD_LEFT(2);
    PRUDENT_MULTIPLY();
    fetch(ahead_left, s);
    PRUDENT_LOAD_LEFT(1);
    PRUDENT_MULTIPLY();
    fetch(ahead_right, s);
    PRUDENT_LOAD_RIGHT(1);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_LEFT(0);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_RIGHT(2);
    PRUDENT_MULTIPLY();
  }
}
#undef PRUDENT_LOAD_LEFT
#undef PRUDENT_LOAD_RIGHT
#undef PRUDENT_MULTIPLY

// block [32][32] fp32
PRUDENT_VEC void load_block(const float* block) {
  constexpr int64_t kBytes = kBlock * 4;
  _tile_loadd(0, block, kBytes);
  _tile_loadd(1, block + kTile, kBytes);
  _tile_loadd(2, block + kTile * kBlock, kBytes);
  _tile_loadd(3, block + kTile * kBlock + kTile, kBytes);
}
PRUDENT_VEC void store_block(float* block) {
  constexpr int64_t kBytes = kBlock * 4;
  _tile_stored(0, block, kBytes);
  _tile_stored(1, block + kTile, kBytes);
  _tile_stored(2, block + kTile * kBlock, kBytes);
  _tile_stored(3, block + kTile * kBlock + kTile, kBytes);
}

template <int kPlanes>
PRUDENT_VEC void multiply_block(const char* left, const char* right, int64_t steps, const Ahead& ahead_left,
                                const Ahead& ahead_right) {
  if constexpr (kPlanes == 3) {
    multiply_small_planes(left, right, steps, ahead_left, ahead_right);
    multiply_planes<kPlanes, 0, 0>(left, right, steps, {}, {});
  } else {
    multiply_planes<kPlanes, 0, 0>(left, right, steps, ahead_left, ahead_right);
  }
}

// Outer indices first .. first + 15 of an operand, from depth `depth` on, at most `depth_count` deep.
template <typename T>
PRUDENT_VEC Operand<T> window(const MatmulOperand& x, int64_t first, int64_t outer_end, int64_t depth, int64_t depth_end) {
  const T* data = static_cast<const T*>(x.data);
  const int64_t at = x.depth_contiguous ? first * x.stride + depth : depth * x.stride + first;
  return {data + at, x.stride, outer_end - first, depth_end - depth};
}

template <Side kSide, int kPlanes, typename T>
void pack_tile(const MatmulOperand& x, int64_t first, int64_t outer_end, int64_t depth, int64_t depth_end, char* to) {
  const Operand<T> from = window<T>(x, first, outer_end, depth, depth_end);
  alignas(64) char tiles[kPlanes * kTileBytes];
  char* written = kPlanes == 1 ? to : tiles;
  if (x.depth_contiguous) {
    write_tiles<kSide, true, kPlanes>(from, written);
  } else {
    write_tiles<kSide, false, kPlanes>(from, written);
  }
  if constexpr (kPlanes > 1) {
    for (int p = 0; p < kPlanes; ++p) __builtin_memcpy(to + p * 2 * kTileBytes, tiles + p * kTileBytes, kTileBytes);
  }
}

PRUDENT_VEC Vec activated(Vec x, MatmulActivation activation) {
  const auto sigmoid_of = [](Vec v) __attribute__((always_inline)) { return sigmoid(v); };
  switch (activation) {
    case MatmulActivation::GeluTanh:
      return gelu_tanh<Vec>(x, sigmoid_of).value;
    case MatmulActivation::GeluExact:
      return gelu_exact<Vec>(
                 x, [](Vec v, Vec e) __attribute__((always_inline)) { return erf(v, e); },
                 [](Vec v) __attribute__((always_inline)) { return exp(v); })
          .value;
    case MatmulActivation::Silu:
      return silu<Vec>(x, sigmoid_of).value;
    case MatmulActivation::None:
      break;
  }
  return x;
}

// One instruction where vec.h takes six; the tiles have taken denormals as 0 anyway.
PRUDENT_VEC void store_result(float* to, Vec x, int64_t n) { store_at(to, x, n); }
PRUDENT_VEC void store_result(Bf16* to, Vec x, int64_t n) {
  const __m256i half = __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, x)));
  _mm256_mask_storeu_epi16(to, first_of_16(n), half);
}

template <typename T, typename Out>
PRUDENT_VEC void finish_vector(const MatmulArgs& args, int64_t row, int64_t column, int64_t n, Vec x) {
  if (args.bias != nullptr) x += load_at(static_cast<const T*>(args.bias) + column, n);
  if (args.saved != nullptr) store_result(static_cast<T*>(args.saved) + row * args.columns + column, x, n);
  // Rounded whether it is saved or not: a forward gives the same with gradients and without.
  if (args.activation != MatmulActivation::None) x = activated(round_to<T>(x), args.activation);
  Out* out = static_cast<Out*>(args.out) + row * args.out_stride + column;
  if (args.residual != nullptr) x += load_at(static_cast<const T*>(args.residual) + row * args.residual_stride + column, n);
  if (args.accumulate) x += load_at(out, n);
  store_result(out, x, n);
}

template <typename T, typename Out>
PRUDENT_VEC void finish_gated_vector(const MatmulArgs& args, int64_t row, int64_t column, int64_t n, Vec up, Vec gate) {
  if (args.bias != nullptr) up += load_at(static_cast<const T*>(args.bias) + column, n);
  if (args.gate_bias != nullptr) gate += load_at(static_cast<const T*>(args.gate_bias) + column, n);
  if (args.saved != nullptr) {
    store_result(static_cast<T*>(args.saved) + row * args.columns + column, up, n);
    store_result(static_cast<T*>(args.saved_gate) + row * args.columns + column, gate, n);
  }
  const Vec activated_gate = activated(round_to<T>(gate), args.activation);  // rounded as above
  store_result(static_cast<Out*>(args.out) + row * args.out_stride + column, activated_gate * round_to<T>(up), n);
}

// A finished block [rows, 32]: of a gated product columns 0-15 are the second factor, 16-31 the gate.
template <typename T, typename Out>
void finish_block(const MatmulArgs& given, const float* block, int64_t row, int64_t rows, int64_t column) {
  const MatmulArgs args = given;  // a copy that no store can reach stays in registers
  const int64_t left = args.columns - column;
  if (args.gate_right.data != nullptr) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * kBlock;
      finish_gated_vector<T, Out>(args, row + i, column, min_of(kTile, left), load(from), load(from + kTile));
    }
  } else if (left >= kBlock) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * kBlock;
      finish_vector<T, Out>(args, row + i, column, kTile, load(from));
      finish_vector<T, Out>(args, row + i, column + kTile, kTile, load(from + kTile));
    }
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * kBlock;
      finish_vector<T, Out>(args, row + i, column, min_of(kTile, left), load(from));
      if (left > kTile) finish_vector<T, Out>(args, row + i, column + kTile, left - kTile, load(from + kTile));
    }
  }
}

// How a packed operand lies: block after block of 32 rows or columns, each [step of depth][plane][2 tiles]. A block of a gated
// product holds 16 columns of the second factor and the same 16 of the gate.
struct Packed {
  int64_t steps, step_bytes, block_bytes;
  int64_t block_columns, blocks;  // of the right operand

  Packed(const MatmulArgs& args, int planes) {
    steps = ceil_div(args.depth, kTileDepth);
    step_bytes = 2 * kTileBytes * planes;
    block_bytes = steps * step_bytes;
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

  Plan(const MatmulArgs& args, int planes) : Packed(args, planes) {
    chunks = ceil_div(steps * kTileDepth, kChunkDepth[planes]);
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

// Blocks first_block .. of the right operand, steps first_step .. end_step - 1, written block after block.
template <typename T, int kPlanes>
void pack_right(const MatmulArgs& args, const Packed& packed, int64_t block, int64_t first_step, int64_t end_step, char* to) {
  const bool gated = args.gate_right.data != nullptr;
  const int64_t column = block * packed.block_columns;
  for (int64_t step = first_step; step < end_step; ++step, to += packed.step_bytes) {
    const int64_t depth = step * kTileDepth;
    pack_tile<Side::Right, kPlanes, T>(args.right, column, args.columns, depth, args.depth, to);
    pack_tile<Side::Right, kPlanes, T>(gated ? args.gate_right : args.right, gated ? column : column + kTile, args.columns, depth,
                                       args.depth, to + kTileBytes);
  }
}

// 32 rows of the left operand, all of their depth.
template <typename T, int kPlanes>
void pack_left(const MatmulArgs& args, const Packed& packed, int64_t row, int64_t row_end, char* to) {
  for (int64_t depth = 0; depth < args.depth; depth += kTileDepth, to += packed.step_bytes) {
    pack_tile<Side::Left, kPlanes, T>(args.left, row, row_end, depth, args.depth, to);
    pack_tile<Side::Left, kPlanes, T>(args.left, row + kTile, row_end, depth, args.depth, to + kTileBytes);
  }
}

template <typename T, int kPlanes>
void pack_all(const MatmulArgs& args, char* to) {
  const Packed packed(args, kPlanes);
  parallel_for(packed.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) pack_right<T, kPlanes>(args, packed, b, 0, packed.steps, to + b * packed.block_bytes);
  });
}

// Tasks of one slab: rows first_row .. end_row - 1, packed at `left`.
template <typename T, typename Out, int kPlanes>
class Product {
 public:
  Product(const MatmulArgs& args, const Plan& plan, const char* left, int64_t first_row, int64_t end_row)
      : args_(args),
        plan_(plan),
        left_(left),
        first_row_(first_row),
        end_row_(end_row),
        packed_(static_cast<const char*>(args.packed_right)) {}

  void run(int64_t begin, int64_t end) {
    take_workspace();
    const Tiles tiles;
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
  }

 private:
  // [packed panel][sums of chunks that are still to come][a finished block]
  void take_workspace() {
    const int64_t chunk_bytes = plan_.panel_blocks * plan_.chunk * plan_.step_bytes;
    const int64_t panel = packed_ != nullptr ? 0 : chunk_bytes * plan_.group;
    const int64_t block_rows = plan_.whole() ? 1 : plan_.task_rows / kBlock;
    const int64_t sums = plan_.chunks == 1 ? 0 : block_rows * plan_.panel_blocks * kBlock * kBlock;
    char* memory = static_cast<char*>(thread_workspace(static_cast<size_t>(panel + (sums + kBlock * kBlock) * 4)));
    panel_memory_ = memory;
    sums_ = reinterpret_cast<float*>(memory + panel);
    finished_ = sums_ + sums;
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
        pack_right<T, kPlanes>(args_, plan_, panel_ * plan_.panel_blocks + b, step, step + chunk_steps(chunk),
                               own_block(chunk, b));
      }
    }
  }

  // The rows of a task against the packed chunks. Sums of groups that are still to come wait in memory.
  void run_group(int64_t first_chunk) {
    float* sums = sums_;
    for (int64_t row = task_row_; row < task_end_; row += kBlock) {
      for (int64_t chunk = first_chunk; chunk < group_end(first_chunk); ++chunk) run_block_row(row, chunk, sums);
      if (!plan_.whole()) sums += plan_.panel_blocks * kBlock * kBlock;
    }
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
    for (int64_t b = 0; b < count; ++b, sums += kBlock * kBlock) {
      if (chunk > 0) {
        load_block(sums);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      const char* right = packed_ != nullptr ? given_block(panel_, chunk, b) : own_block(chunk, b);
      multiply_block<kPlanes>(left, right, steps, ahead_of_left(row, chunk, b, steps), ahead_of_right(row, chunk, b, steps));
      if (chunk + 1 < plan_.chunks) {
        store_block(sums);
      } else {
        store_block(finished_);
        finish_block<T, Out>(args_, finished_, row, min_of(kBlock, task_end_ - row),
                             (panel_ * plan_.panel_blocks + b) * plan_.block_columns);
      }
    }
  }

  const MatmulArgs& args_;
  const Plan& plan_;
  const char* left_;
  int64_t first_row_, end_row_;
  const char* packed_;  // all of the right operand, or null
  int64_t panel_ = 0, task_row_ = 0, task_end_ = 0;
  char* panel_memory_ = nullptr;
  float *sums_ = nullptr, *finished_ = nullptr;
};

template <typename T, typename Out, int kPlanes>
void run(const MatmulArgs& args) {
  const Plan plan(args, kPlanes);
  const int64_t slab_blocks = plan.slab_rows / kBlock;
  char* left = static_cast<char*>(shared_workspace(static_cast<size_t>(slab_blocks * plan.block_bytes)));
  for (int64_t row = 0; row < args.rows; row += plan.slab_rows) {
    const int64_t end_row = min_of(args.rows, row + plan.slab_rows), row_blocks = ceil_div(end_row - row, kBlock);
    parallel_for(row_blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        pack_left<T, kPlanes>(args, plan, row + b * kBlock, end_row, left + b * plan.block_bytes);
      }
    });
    const int64_t row_tasks = ceil_div(end_row - row, plan.task_rows);
    Plan slab = plan;
    slab.row_tasks = row_tasks;
    parallel_for(plan.panels * row_tasks, 1,
                 [&](int64_t begin, int64_t end) { Product<T, Out, kPlanes>(args, slab, left, row, end_row).run(begin, end); });
  }
}

}  // namespace

void matmul_run(const MatmulArgs& args) {
  if (!args.bf16) return run<float, float, 3>(args);
  args.out_bf16 ? run<Bf16, Bf16, 1>(args) : run<Bf16, float, 1>(args);
}

int64_t matmul_packed_bytes(const MatmulArgs& args) {
  const Packed packed(args, args.bf16 ? 1 : 3);
  return packed.blocks * packed.block_bytes;
}

void matmul_pack_right(const MatmulArgs& args, void* to) {
  args.bf16 ? pack_all<Bf16, 1>(args, static_cast<char*>(to)) : pack_all<float, 3>(args, static_cast<char*>(to));
}

}  // namespace prudent::kernels::PRUDENT_ISA
