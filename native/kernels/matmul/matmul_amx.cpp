// A task is a stretch of rows and a panel of columns. The panel of the right operand is packed into tiles, all of its depth
// where that fits, and stays in the second-level cache; 32 rows of the left operand at a time are packed into the first. A result
// of 32 x 32 is summed in four tiles and leaves them through the epilogue. Sums run over depth in one fixed order: a row's result
// depends on neither the other rows nor the number of threads.
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
constexpr int64_t kChunkDepth = 384;   // of one chunk; a multiple of kTileDepth
// Packed right operand of a panel: with all chunks of depth where they fit, else one chunk at a time.
constexpr int64_t kWholeBytes = 896 * 1024;
constexpr int64_t kChunkBytes = 384 * 1024;
constexpr int64_t kFewestBlocks = 8;  // a narrower panel packs the left operand too often
constexpr int64_t kWholeTaskRows = 2048;
constexpr int64_t kChunkTaskRows = 512;  // their sums stay in the second-level cache too
constexpr int64_t kFewestTasks = 16;     // so that threads end at about the same time

PRUDENT_VEC int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Four result tiles += left block x right block over `steps` steps of depth. A step of a packed block is
// [plane][2 tiles]: its rows or columns 0-15 and 16-31.
template <int kPlanes, int kLeft, int kRight>
PRUDENT_VEC void multiply_planes(const char* left, const char* right, int64_t steps) {
  constexpr int64_t kStep = kPlanes * 2 * kTileBytes;
  left += kLeft * 2 * kTileBytes;
  right += kRight * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    _tile_loadd(6, right, 64);
    _tile_loadd(4, left, 64);
    _tile_loadd(7, right + kTileBytes, 64);
    _tile_loadd(5, left + kTileBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
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
PRUDENT_VEC void multiply_small_planes(const char* left, const char* right, int64_t steps) {
  constexpr int64_t kStep = 3 * 2 * kTileBytes;
  for (int64_t s = 0; s < steps; ++s, left += kStep, right += kStep) {
    PRUDENT_LOAD_RIGHT(0);
    PRUDENT_LOAD_LEFT(2);
    PRUDENT_MULTIPLY();
    PRUDENT_LOAD_LEFT(1);
    PRUDENT_MULTIPLY();
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

// block [32][32] fp32, rows `stride` floats apart.
PRUDENT_VEC void load_block(const float* block, int64_t stride) {
  const int64_t bytes = stride * 4;
  _tile_loadd(0, block, bytes);
  _tile_loadd(1, block + kTile, bytes);
  _tile_loadd(2, block + kTile * stride, bytes);
  _tile_loadd(3, block + kTile * stride + kTile, bytes);
}
PRUDENT_VEC void store_block(float* block, int64_t stride) {
  const int64_t bytes = stride * 4;
  _tile_stored(0, block, bytes);
  _tile_stored(1, block + kTile, bytes);
  _tile_stored(2, block + kTile * stride, bytes);
  _tile_stored(3, block + kTile * stride + kTile, bytes);
}

template <int kPlanes>
PRUDENT_VEC void multiply_block(const char* left, const char* right, int64_t steps) {
  if constexpr (kPlanes == 3) multiply_small_planes(left, right, steps);
  multiply_planes<kPlanes, 0, 0>(left, right, steps);
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
void finish_block(const MatmulArgs& given, const float* block, int64_t stride, int64_t row, int64_t rows, int64_t column) {
  const MatmulArgs args = given;  // a copy that no store can reach stays in registers
  const int64_t left = args.columns - column;
  if (args.gate_right.data != nullptr) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * stride;
      finish_gated_vector<T, Out>(args, row + i, column, min_of(kTile, left), load(from), load(from + kTile));
    }
  } else if (left >= kBlock) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * stride;
      finish_vector<T, Out>(args, row + i, column, kTile, load(from));
      finish_vector<T, Out>(args, row + i, column + kTile, kTile, load(from + kTile));
    }
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * stride;
      finish_vector<T, Out>(args, row + i, column, min_of(kTile, left), load(from));
      if (left > kTile) finish_vector<T, Out>(args, row + i, column + kTile, left - kTile, load(from + kTile));
    }
  }
}

// How the product is cut.
struct Plan {
  int64_t chunk, chunks;         // depth of a chunk, and how many there are
  bool whole;                    // a packed panel holds all chunks
  int64_t block_columns;         // result columns of a block: 32, or 16 of a gated product
  int64_t panel_blocks, panels;  // blocks of a panel, and how many panels there are
  int64_t task_rows, row_tasks;

  Plan(const MatmulArgs& args, int planes) {
    chunks = ceil_div(args.depth, kChunkDepth);
    chunk = ceil_div(ceil_div(args.depth, chunks), kTileDepth) * kTileDepth;
    chunks = ceil_div(args.depth, chunk);
    block_columns = args.gate_right.data != nullptr ? kTile : kBlock;
    const int64_t block_bytes = chunk / kTileDepth * 2 * kTileBytes * planes;
    const int64_t whole_blocks = kWholeBytes / (block_bytes * chunks);
    whole = chunks == 1 || whole_blocks >= kFewestBlocks;
    row_tasks = ceil_div(args.rows, whole ? kWholeTaskRows : kChunkTaskRows);
    task_rows = ceil_div(ceil_div(args.rows, row_tasks), kBlock) * kBlock;
    row_tasks = ceil_div(args.rows, task_rows);
    const int64_t blocks = ceil_div(args.columns, block_columns);
    const int64_t most = whole ? whole_blocks : kChunkBytes / block_bytes;
    panels = ceil_div(blocks, most < 1 ? 1 : most);
    const int64_t wanted = ceil_div(kFewestTasks, row_tasks);
    panels = panels < wanted ? min_of(wanted, blocks) : panels;
    panel_blocks = ceil_div(blocks, panels);
    panels = ceil_div(blocks, panel_blocks);
  }
};

template <typename T, typename Out, int kPlanes>
class Product {
 public:
  Product(const MatmulArgs& args, const Plan& plan) : args_(args), plan_(plan) {
    const int64_t step = 2 * kTileBytes * kPlanes, steps = plan.chunk / kTileDepth;
    block_bytes_ = steps * step;
    sums_stride_ = plan.panel_blocks * kBlock;
  }

  int64_t workspace_bytes() const {
    return panel_bytes() + block_bytes_ + (plan_.whole ? kBlock : plan_.task_rows) * sums_stride_ * 4;
  }

  void run(int64_t begin, int64_t end) {
    right_ = static_cast<char*>(thread_workspace(static_cast<size_t>(workspace_bytes())));
    left_ = right_ + panel_bytes();
    sums_ = reinterpret_cast<float*>(left_ + block_bytes_);
    const Tiles tiles;
    int64_t packed_panel = -1;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t panel = task / plan_.row_tasks, row_task = task % plan_.row_tasks;
      if (plan_.whole) {
        if (panel != packed_panel) pack_panel(panel, 0, plan_.chunks);
        packed_panel = panel;
        run_rows(panel, row_task, 0, plan_.chunks);
      } else {
        for (int64_t chunk = 0; chunk < plan_.chunks; ++chunk) {
          pack_panel(panel, chunk, chunk + 1);
          run_rows(panel, row_task, chunk, chunk + 1);
        }
      }
    }
  }

 private:
  int64_t panel_bytes() const { return plan_.panel_blocks * block_bytes_ * (plan_.whole ? plan_.chunks : 1); }
  // Block b of the panel in a chunk, the first packed chunk being number 0.
  char* packed_block(int64_t packed_chunk, int64_t b) { return right_ + (packed_chunk * plan_.panel_blocks + b) * block_bytes_; }

  void pack_panel(int64_t panel, int64_t first_chunk, int64_t end_chunk) {
    const bool gated = args_.gate_right.data != nullptr;
    for (int64_t b = 0; b < blocks_of(panel); ++b) {
      const int64_t column = (panel * plan_.panel_blocks + b) * plan_.block_columns;
      for (int64_t chunk = first_chunk; chunk < end_chunk; ++chunk) {
        char* to = packed_block(chunk - first_chunk, b);
        for (int64_t depth = chunk * plan_.chunk; depth < depth_end(chunk); depth += kTileDepth, to += 2 * kTileBytes * kPlanes) {
          pack_tile<Side::Right, kPlanes, T>(args_.right, column, args_.columns, depth, depth_end(chunk), to);
          pack_tile<Side::Right, kPlanes, T>(gated ? args_.gate_right : args_.right, gated ? column : column + kTile,
                                             args_.columns, depth, depth_end(chunk), to + kTileBytes);
        }
      }
    }
  }

  void pack_left(int64_t row, int64_t row_end, int64_t chunk) {
    char* to = left_;
    for (int64_t depth = chunk * plan_.chunk; depth < depth_end(chunk); depth += kTileDepth, to += 2 * kTileBytes * kPlanes) {
      pack_tile<Side::Left, kPlanes, T>(args_.left, row, row_end, depth, depth_end(chunk), to);
      pack_tile<Side::Left, kPlanes, T>(args_.left, row + kTile, row_end, depth, depth_end(chunk), to + kTileBytes);
    }
  }

  // The rows of a task against the packed chunks. Sums of chunks that are still to come wait in memory.
  void run_rows(int64_t panel, int64_t row_task, int64_t first_chunk, int64_t end_chunk) {
    const int64_t first = row_task * plan_.task_rows, end = min_of(args_.rows, first + plan_.task_rows);
    for (int64_t row = first; row < end; row += kBlock) {
      float* sums = plan_.whole ? sums_ : sums_ + (row - first) * sums_stride_;
      for (int64_t chunk = first_chunk; chunk < end_chunk; ++chunk) {
        pack_left(row, end, chunk);
        run_block_row(panel, row, end, chunk, chunk - first_chunk, sums);
      }
    }
  }

  void run_block_row(int64_t panel, int64_t row, int64_t row_end, int64_t chunk, int64_t packed_chunk, float* sums) {
    const int64_t steps = ceil_div(depth_end(chunk) - chunk * plan_.chunk, kTileDepth);
    for (int64_t b = 0; b < blocks_of(panel); ++b, sums += kBlock) {
      if (chunk > 0) {
        load_block(sums, sums_stride_);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      multiply_block<kPlanes>(left_, packed_block(packed_chunk, b), steps);
      store_block(sums, sums_stride_);
      if (chunk + 1 == plan_.chunks) {
        finish_block<T, Out>(args_, sums, sums_stride_, row, min_of(kBlock, row_end - row),
                             (panel * plan_.panel_blocks + b) * plan_.block_columns);
      }
    }
  }

  int64_t depth_end(int64_t chunk) const { return min_of(args_.depth, (chunk + 1) * plan_.chunk); }
  int64_t blocks_of(int64_t panel) const {
    const int64_t blocks = ceil_div(args_.columns, plan_.block_columns);
    return min_of(plan_.panel_blocks, blocks - panel * plan_.panel_blocks);
  }

  const MatmulArgs& args_;
  const Plan& plan_;
  int64_t block_bytes_;  // of 32 packed rows or columns of one chunk
  int64_t sums_stride_;
  char *right_ = nullptr, *left_ = nullptr;
  float* sums_ = nullptr;  // [rows of a task, or 32 of a whole panel, panel columns]
};

template <typename T, typename Out, int kPlanes>
void run(const MatmulArgs& args) {
  const Plan plan(args, kPlanes);
  parallel_for(plan.panels * plan.row_tasks, 1,
               [&](int64_t begin, int64_t end) { Product<T, Out, kPlanes>(args, plan).run(begin, end); });
}

}  // namespace

void matmul_run(const MatmulArgs& args) {
  if (!args.bf16) return run<float, float, 3>(args);
  args.out_bf16 ? run<Bf16, Bf16, 1>(args) : run<Bf16, float, 1>(args);
}

}  // namespace prudent::kernels::PRUDENT_ISA
