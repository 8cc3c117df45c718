#include "kernels/matmul/matmul.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "core/cpu.h"
#include "kernels/common/check.h"
#include "kernels/common/dispatch.h"
#include "kernels/matmul/int8_weights.h"
#include "kernels/matmul/matmul_kernel.h"
#include "kernels/matmul/packed_weights.h"

namespace prudent::kernels {

namespace {

// Dense along one of its two dimensions.
at::Tensor with_dense_dimension(const at::Tensor& x) { return x.stride(0) == 1 || x.stride(1) == 1 ? x : x.contiguous(); }

// Rows without gaps between their values.
at::Tensor with_dense_rows(const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

MatmulOperand left_operand(const at::Tensor& left) {
  const bool rows_dense = left.stride(1) == 1;
  return {left.const_data_ptr(), rows_dense ? left.stride(0) : left.stride(1), rows_dense};
}

MatmulOperand right_operand(const at::Tensor& right) {
  const bool rows_dense = right.stride(1) == 1;
  return {right.const_data_ptr(), rows_dense ? right.stride(0) : right.stride(1), !rows_dense};
}

MatmulActivation activation_of(const std::optional<Activation>& activation) {
  if (!activation) return MatmulActivation::None;
  switch (*activation) {
    case Activation::GeluTanh:
      return MatmulActivation::GeluTanh;
    case Activation::GeluExact:
      return MatmulActivation::GeluExact;
    case Activation::Silu:
      break;
  }
  return MatmulActivation::Silu;
}

void check_operands(const at::Tensor& left, const at::Tensor& right, const char* right_name) {
  check_kernel_dtype(left, "left");
  check_dims(left, "left", 2, "[rows, depth]");
  check_same_dtype(right, right_name, left);
  check_same_device(right, right_name, left);
  check_dims(right, right_name, 2, "[depth, columns]");
  check_shape(right, right_name, {left.size(1), right.size(1)});
}

void check_vector(const at::Tensor& bias, const char* name, const at::Tensor& left, int64_t columns) {
  if (!bias.defined()) return;
  check_same_dtype(bias, name, left);
  check_same_device(bias, name, left);
  check_shape(bias, name, {columns});
}

void check_epilogue(const at::Tensor& left, int64_t columns, bool gated, const MatmulEpilogue& epilogue) {
  check_vector(epilogue.bias, "bias", left, columns);
  check_vector(epilogue.gate_bias, "gate_bias", left, columns);
  PRUDENT_CHECK(!gated || (epilogue.activation.has_value() && !epilogue.residual.defined()), "E_RANGE", "gate",
                "an activation and no residual", epilogue.residual.defined() ? "a residual" : "no activation");
  if (epilogue.residual.defined()) {
    check_same_dtype(epilogue.residual, "residual", left);
    check_same_device(epilogue.residual, "residual", left);
    check_shape(epilogue.residual, "residual", {left.size(0), columns});
  }
}

void check_product(const at::Tensor& left, const at::Tensor& right, const char* right_name, const MatmulEpilogue& epilogue) {
  check_operands(left, right, right_name);
  if (epilogue.gate.defined()) {
    check_operands(left, epilogue.gate, "gate");
    check_shape(epilogue.gate, "gate", {right.size(0), right.size(1)});
  }
  check_epilogue(left, right.size(1), epilogue.gate.defined(), epilogue);
}

void check_int8(const at::Tensor& left, const Int8Weights& weights, const MatmulEpilogue& epilogue) {
  PRUDENT_CHECK(weights.defined(), "E_STATE", "weights", "quantised weights", "none");
  check_kernel_dtype(left, "left");
  check_on_cpu(left, "left");
  check_dims(left, "left", 2, "[rows, depth]");
  check_shape(left, "left", {left.size(0), weights.depth});
  check_epilogue(left, weights.columns, weights.gated(), epilogue);
}

const void* data_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }

void run(const MatmulArgs& args) {
  if (args.rows > 0 && args.columns > 0) matmul_engine().run(args);
}

// The bare product; both operands dense in one dimension, out in its rows.
MatmulArgs product_args(const at::Tensor& left, const at::Tensor& right, const at::Tensor& out) {
  return {.rows = left.size(0),
          .columns = right.size(1),
          .depth = left.size(1),
          .left = left_operand(left),
          .right = right_operand(right),
          .bf16 = left.scalar_type() == at::kBFloat16,
          .out_bf16 = out.scalar_type() == at::kBFloat16,
          .activation = MatmulActivation::None,
          .out = out.mutable_data_ptr(),
          .out_stride = out.stride(0)};
}

// An epilogue's operands as the engine reads them, held while it runs.
struct EpilogueOperands {
  at::Tensor bias, gate_bias, residual;
  MatmulActivation activation;

  explicit EpilogueOperands(const MatmulEpilogue& epilogue)
      : bias(epilogue.bias.defined() ? epilogue.bias.contiguous() : at::Tensor()),
        gate_bias(epilogue.gate_bias.defined() ? epilogue.gate_bias.contiguous() : at::Tensor()),
        residual(epilogue.residual.defined() ? with_dense_rows(epilogue.residual) : at::Tensor()),
        activation(activation_of(epilogue.activation)) {}

  void put(MatmulArgs& args) const {
    args.bias = data_or_null(bias);
    args.gate_bias = data_or_null(gate_bias);
    args.residual = data_or_null(residual);
    args.residual_stride = residual.defined() ? residual.stride(0) : 0;
    args.activation = activation;
  }
};

// What a product takes or leaves in the order of tiles (matmul_kernel.h), padded to whole blocks of rows.
struct TileOrder {
  int64_t rows;  // without the padding
  bool left = false, out = false;
};
constexpr int64_t kTileRows = 32;

at::Tensor on_engine(const at::Tensor& left_in, const at::Tensor& right_in, const MatmulEpilogue& epilogue,
                     const TileOrder& order) {
  const at::Tensor left = with_dense_dimension(left_in), right = with_dense_dimension(right_in);
  const at::Tensor gate = epilogue.gate.defined() ? with_dense_dimension(epilogue.gate) : at::Tensor();
  const EpilogueOperands operands(epilogue);
  const int64_t padded_rows = (order.rows + kTileRows - 1) / kTileRows * kTileRows;
  const std::vector<int64_t> shape{order.out ? padded_rows : order.rows, right.size(1)};
  const at::Tensor out = at::empty(shape, left.options());
  const bool saves = epilogue.saved != nullptr && epilogue.activation.has_value();
  if (saves) *epilogue.saved = at::empty(shape, left.options());
  if (saves && gate.defined()) *epilogue.saved_gate = at::empty(shape, left.options());
  MatmulArgs args = product_args(left, right, out);
  args.rows = order.rows;
  args.left_tiles = order.left ? left.const_data_ptr() : nullptr;
  args.out_tiles = order.out;
  if (gate.defined()) args.gate_right = right_operand(gate);
  operands.put(args);
  args.saved = saves ? epilogue.saved->mutable_data_ptr() : nullptr;
  args.saved_gate = saves && gate.defined() ? epilogue.saved_gate->mutable_data_ptr() : nullptr;
  const at::Tensor packed = epilogue.keep_weights ? packed_weights(args, right_in, epilogue.gate) : at::Tensor();
  args.packed_right = data_or_null(packed);
  run(args);
  return out;
}

}  // namespace

bool matmul_is_ours(const at::Tensor& operand) {
  if (!operand.device().is_cpu() || isa() == Isa::Baseline) return false;
  if (operand.scalar_type() == at::kBFloat16) return has_amx() || !cpu_info().bf16;
  return operand.scalar_type() == at::kFloat;
}

at::Tensor matmul(const at::Tensor& left, const at::Tensor& right, const MatmulEpilogue& epilogue) {
  check_product(left, right, "right", epilogue);
  const bool empty = left.numel() == 0 || right.numel() == 0;
  return matmul_is_ours(left) && !empty ? on_engine(left, right, epilogue, {.rows = left.size(0)})
                                        : matmul_reference(left, right, epilogue);
}

at::Tensor matmul_after_gated(const at::Tensor& left, const GatedProduct& gated, const at::Tensor& right,
                              const MatmulEpilogue& epilogue) {
  check_product(left, gated.right, "gated.right", gated.epilogue);
  PRUDENT_CHECK(gated.epilogue.gate.defined(), "E_SHAPE", "gated.gate", "[depth, columns]", "none");
  PRUDENT_CHECK(gated.epilogue.saved == nullptr && epilogue.saved == nullptr, "E_RANGE", "saved", "nothing to save", "a tensor");
  const int64_t rows = left.size(0);
  const bool empty = left.numel() == 0 || gated.right.numel() == 0 || right.numel() == 0;
  const bool whole_tiles = left.scalar_type() == at::kBFloat16 && gated.right.size(1) % kTileRows == 0;
  if (!has_amx() || !matmul_is_ours(left) || empty || !whole_tiles) {
    return matmul(matmul(left, gated.right, gated.epilogue), right, epilogue);
  }
  // Checked as the product of a tensor of this shape would be.
  const at::Tensor middle = on_engine(left, gated.right, gated.epilogue, {.rows = rows, .out = true});
  check_product(middle.narrow(0, 0, rows), right, "right", epilogue);
  return on_engine(middle, right, epilogue, {.rows = rows, .left = true});
}

at::Tensor matmul_int8(const at::Tensor& left_in, const Int8Weights& weights, const MatmulEpilogue& epilogue) {
  check_int8(left_in, weights, epilogue);
  if (!weights.packed.defined()) return matmul_int8_reference(left_in, weights, epilogue);
  const at::Tensor left = with_dense_rows(left_in);
  const at::Tensor out = at::empty({left.size(0), weights.columns}, left.options());
  const EpilogueOperands operands(epilogue);
  // Of the right operand's place only packing asks.
  const MatmulOperand packed{weights.packed.const_data_ptr(), weights.depth, true};
  MatmulArgs args{.rows = left.size(0),
                  .columns = weights.columns,
                  .depth = weights.depth,
                  .left = left_operand(left),
                  .right = packed,
                  .gate_right = weights.gated() ? packed : MatmulOperand{},
                  .right_scale = weights.scale.const_data_ptr<float>(),
                  .gate_scale = weights.gated() ? weights.gate_scale.const_data_ptr<float>() : nullptr,
                  .packed_right = packed.data,
                  .bf16 = left.scalar_type() == at::kBFloat16,
                  .out_bf16 = left.scalar_type() == at::kBFloat16,
                  .out = out.mutable_data_ptr(),
                  .out_stride = out.stride(0)};
  operands.put(args);
  if (args.rows > 0) int8_matmul_engine()->run(args);
  return out;
}

void matmul_into(at::Tensor& out, const at::Tensor& left_in, const at::Tensor& right_in, bool accumulate) {
  check_operands(left_in, right_in, "right");
  check_shape(out, "out", {left_in.size(0), right_in.size(1)});
  check_same_device(out, "out", left_in);
  const bool fp32 = out.scalar_type() == at::kFloat;
  PRUDENT_CHECK(fp32 || (!accumulate && out.scalar_type() == left_in.scalar_type()), "E_DTYPE", "out",
                "float32, or the operands' dtype when nothing is added to it", describe(out));
  const bool empty = left_in.numel() == 0 || right_in.numel() == 0;
  if (!matmul_is_ours(left_in) || empty || out.stride(1) != 1) {
    if (!accumulate && out.scalar_type() == left_in.scalar_type()) {
      at::mm_out(out, left_in, right_in);
    } else if (accumulate) {
      out.add_(at::mm(left_in, right_in));
    } else {
      out.copy_(at::mm(left_in, right_in));
    }
    return;
  }
  const at::Tensor left = with_dense_dimension(left_in), right = with_dense_dimension(right_in);
  MatmulArgs args = product_args(left, right, out);
  args.accumulate = accumulate;
  run(args);
}

}  // namespace prudent::kernels
