#include "kernels/matmul/int8_weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>

#include <tuple>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/matmul/packed_weights.h"

namespace prudent::kernels {

namespace {

constexpr int64_t kMostDepth = 65536;  // 255 * 127 * depth stays within int32

// Integers [columns, depth] and the columns' scales.
std::pair<at::Tensor, at::Tensor> quantise(const at::Tensor& right, const char* name) {
  const at::Tensor weights = right.t().to(at::kFloat).contiguous();
  const at::Tensor most = weights.abs().amax({1});
  PRUDENT_CHECK(most.isfinite().all().item<bool>(), "E_NON_FINITE", name, "finite weights", "NaN or an infinity");
  const at::Tensor scale = most / 127.0;
  const at::Tensor units = (weights / scale.clamp_min(1e-30).unsqueeze(1)).round_();
  return {units.to(at::kChar), scale};
}

at::Tensor pack(const MatmulEngine& engine, const Int8Weights& weights) {
  const auto operand = [&](const at::Tensor& values) {
    return MatmulOperand{values.defined() ? values.const_data_ptr() : nullptr, weights.depth, true};
  };
  const MatmulArgs args{.columns = weights.columns,
                        .depth = weights.depth,
                        .right = operand(weights.values),
                        .gate_right = operand(weights.gate_values)};
  return pack_weights(engine, args);
}

}  // namespace

Int8Weights quantise_weights(const at::Tensor& right, const at::Tensor& gate, bool as_they_lie) {
  check_kernel_dtype(right, "right");
  check_dims(right, "right", 2, "[depth, columns]");
  check_on_cpu(right, "right");
  PRUDENT_CHECK(right.numel() > 0 && right.size(0) <= kMostDepth, "E_SHAPE", "right", "[1 to 65536, columns]", describe(right));
  Int8Weights weights{.depth = right.size(0), .columns = right.size(1)};
  std::tie(weights.values, weights.scale) = quantise(right, "right");
  if (gate.defined()) {
    check_shape(gate, "gate", {weights.depth, weights.columns});
    std::tie(weights.gate_values, weights.gate_scale) = quantise(gate, "gate");
  }
  const MatmulEngine* engine = int8_matmul_engine();
  if (engine == nullptr || as_they_lie) return weights;
  weights.packed = pack(*engine, weights);
  weights.values = weights.gate_values = at::Tensor();
  return weights;
}

}  // namespace prudent::kernels
