// What follows a product: bias, activation, gate, residual, and the way to memory.
#pragma once

#include "kernels/geglu/geglu_math.h"
#include "kernels/matmul/matmul_engine.h"
#include "kernels/matmul/matmul_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

// 1 / (1 + 2^t) within 7e-5 of itself, a thirtieth of half a unit in bf16's last place: for results that are rounded to bf16, at
// less than half of what vec.h's sigmoid costs between two products of tiles. Needs no bounds: of an infinite t the reduction is
// 0.
#if defined(PRUDENT_ISA_avx512)
PRUDENT_VEC Vec coarse_sigmoid(Vec t) {
  const __m512 exponent = __builtin_bit_cast(__m512, t);
  const Vec r = __builtin_bit_cast(Vec, _mm512_maskz_reduce_ps(0xffff, exponent, _MM_FROUND_TO_NEG_INF));  // t - floor(t)
  Vec p = broadcast(0.01353417f);  // 2^r for 0 <= r < 1, relative error 3e-6
  p = p * r + 0.05201146f;
  p = p * r + 0.24144276f;
  p = p * r + 0.69300383f;
  p = p * r + 1.00000259f;
  const __m512 power = _mm512_maskz_scalef_ps(0xffff, __builtin_bit_cast(__m512, p), exponent);  // p 2^floor(t)
  return __builtin_bit_cast(Vec,
                            _mm512_maskz_rcp14_ps(0xffff, __builtin_bit_cast(__m512, __builtin_bit_cast(Vec, power) + 1.0f)));
}
#else
PRUDENT_VEC Vec coarse_sigmoid(Vec t) { return sigmoid(t * (-1.0f / kLog2E)); }
#endif

template <typename T>
PRUDENT_VEC Vec activated(Vec x, MatmulActivation activation) {
  constexpr bool kCoarse = sizeof(T) < sizeof(float);
  constexpr float kScale = -kTwoSqrtTwoOverPi * kLog2E;
  const auto sigmoid_of = [](Vec v) __attribute__((always_inline)) { return kCoarse ? coarse_sigmoid(v * -kLog2E) : sigmoid(v); };
  switch (activation) {
    case MatmulActivation::GeluTanh:
      if constexpr (kCoarse) return x * coarse_sigmoid(x * (x * x * (kScale * kGeluCubic) + kScale));
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

template <typename T, typename Out>
PRUDENT_VEC void finish_vector(const MatmulArgs& args, int64_t row, int64_t column, int64_t n, Vec x) {
  if (args.bias != nullptr) x += load_at(static_cast<const T*>(args.bias) + column, n);
  if (args.saved != nullptr) store_result(static_cast<T*>(args.saved) + row * args.columns + column, x, n);
  // Rounded whether it is saved or not: a forward gives the same with gradients and without.
  if (args.activation != MatmulActivation::None) x = activated<T>(rounded<T>(x), args.activation);
  Out* out = static_cast<Out*>(args.out) + row * args.out_stride + column;
  if (args.residual != nullptr) x += load_at(static_cast<const T*>(args.residual) + row * args.residual_stride + column, n);
  if (args.accumulate) x += load_at(out, n);
  store_result(out, x, n);
}

// Where 16 columns of a row lie in a left operand of tiles: [32 rows][step of depth][2 tiles][16 rows][32 depth].
template <typename Out>
PRUDENT_VEC Out* place_in_tiles(const MatmulArgs& args, int64_t row, int64_t column) {
  const int64_t block = row / kBlock * kBlock * args.columns, step = column / kTileDepth * kBlock * kTileDepth;
  return static_cast<Out*>(args.out) + block + step + row % kBlock * kTileDepth + column % kTileDepth;
}

template <typename T, typename Out>
PRUDENT_VEC void finish_gated_vector(const MatmulArgs& args, int64_t row, int64_t column, int64_t n, Vec up, Vec gate) {
  if (args.bias != nullptr) up += load_at(static_cast<const T*>(args.bias) + column, n);
  if (args.gate_bias != nullptr) gate += load_at(static_cast<const T*>(args.gate_bias) + column, n);
  if (args.saved != nullptr) {
    store_result(static_cast<T*>(args.saved) + row * args.columns + column, up, n);
    store_result(static_cast<T*>(args.saved_gate) + row * args.columns + column, gate, n);
  }
  const Vec activated_gate = activated<T>(rounded<T>(gate), args.activation);  // rounded as above
  Out* out = kTakesTileOrder && args.out_tiles ? place_in_tiles<Out>(args, row, column)
                                               : static_cast<Out*>(args.out) + row * args.out_stride + column;
  store_result(out, activated_gate * rounded<T>(up), n);
}

// 16 columns of a row, n of them within the result.
template <typename T, typename Out>
PRUDENT_VEC void finish_half(const MatmulArgs& args, int64_t row, int64_t column, int64_t n, const float* from) {
  for (int64_t c = 0; c < n; c += kWidth) {
    finish_vector<T, Out>(args, row, column + c, min_of(kWidth, n - c), load(from + c));
  }
}

// Rows [rows, 32] of a block: of a gated product columns 0-15 are the second factor, 16-31 the gate.
template <typename T, typename Out>
__attribute__((noinline)) static void finish_rows(const MatmulArgs& given, const float* block, int64_t row, int64_t rows,
                                                  int64_t column) {
  const MatmulArgs args = given;  // a copy that no store can reach stays in registers
  const int64_t left = args.columns - column;
  if (args.gate_right.data != nullptr) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = block + i * kBlock;
      for (int64_t c = 0; c < min_of(kTile, left); c += kWidth) {
        finish_gated_vector<T, Out>(args, row + i, column + c, min_of(kWidth, left - c), load(from + c), load(from + kTile + c));
      }
    }
  } else if (left >= kBlock) {
    for (int64_t i = 0; i < rows; ++i) {
      finish_half<T, Out>(args, row + i, column, kTile, block + i * kBlock);
      finish_half<T, Out>(args, row + i, column + kTile, kTile, block + i * kBlock + kTile);
    }
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      finish_half<T, Out>(args, row + i, column, min_of(kTile, left), block + i * kBlock);
      if (left > kTile) finish_half<T, Out>(args, row + i, column + kTile, left - kTile, block + i * kBlock + kTile);
    }
  }
}

// A row of blocks whose sums are complete: finished a few rows at a time, between the products of the next blocks.
template <typename T, typename Out>
class Epilogue {
 public:
  explicit Epilogue(const MatmulArgs& args) : args_(args) {}

  // `blocks` [count][32][32]: their first `rows` rows are those of the result from `row` on, their columns those from `column`
  // on, `block_columns` to a block. advance() will be called `steps` times for each block. What still waits is finished first.
  void take(const float* blocks, int64_t count, int64_t row, int64_t rows, int64_t column, int64_t block_columns, int64_t steps) {
    flush();
    block_ = blocks;
    blocks_ = count;
    row_ = row;
    rows_ = rows;
    column_ = column;
    block_columns_ = block_columns;
    step_rows_ = (rows + steps - 1) / steps;
  }

  void advance() {
    if (blocks_ > 0) finish_some();
  }

  void flush() {
    while (blocks_ > 0) finish_some();
  }

 private:
  void finish_some() {
    const int64_t count = min_of(step_rows_, rows_ - done_);
    finish_rows<T, Out>(args_, block_ + done_ * kBlock, row_ + done_, count, column_);
    done_ += count;
    if (done_ < rows_) return;
    done_ = 0;
    block_ += kBlock * kBlock;
    column_ += block_columns_;
    --blocks_;
  }

  const MatmulArgs& args_;
  const float* block_ = nullptr;
  int64_t blocks_ = 0, row_ = 0, rows_ = 0, column_ = 0, block_columns_ = 0;
  int64_t step_rows_ = 0;  // at a time
  int64_t done_ = 0;       // rows of the block at hand
};

}  // namespace prudent::kernels::PRUDENT_ISA
