#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "kernels/packed_attention/packed_attention.h"
#include "op_case.h"

namespace prudent::bench {

namespace {

double scale_of(int64_t head_dim) { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }

// [rows + 1] int32 on the CPU, from the case's list of lengths.
at::Tensor cumulative_lengths(const Json& spec) {
  std::vector<int32_t> bounds = {0};
  for (const Json& length : member(spec, "lengths").as_array("lengths")) {
    bounds.push_back(bounds.back() + static_cast<int32_t>(length.as_int("lengths")));
  }
  return at::tensor(bounds, at::TensorOptions().dtype(at::kInt));
}

}  // namespace

OpCase packed_attention_case(const Json& spec, const at::Device& device) {
  const int64_t heads = size_of(spec, "heads"), kv_heads = size_of(spec, "kv_heads"), dim = size_of(spec, "head_dim");
  const at::Tensor bounds = cumulative_lengths(spec);
  const int64_t tokens = bounds[-1].item<int64_t>();
  const double scale = scale_of(dim);
  OpCase op;
  op.ours = [=](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], bounds, scale)}; };
  op.reference = [=](const Tensors& in) {
    return Tensors{kernels::packed_attention_reference(in[0], in[1], in[2], bounds, scale)};
  };
  const auto random = [&](int64_t count, uint64_t seed) { return normal({tokens, count, dim}, seed).to(device, dtype_of(spec)); };
  op.inputs = {random(heads, 1), random(kv_heads, 2), random(kv_heads, 3)};
  return op;
}

OpCase cached_attention_case(const Json& spec, const at::Device& device) {
  const int64_t rows = size_of(spec, "rows"), heads = size_of(spec, "heads"), kv_heads = size_of(spec, "kv_heads");
  const int64_t dim = size_of(spec, "head_dim"), capacity = size_of(spec, "capacity");
  const at::Tensor lengths = at::full({rows}, capacity, at::TensorOptions().dtype(at::kInt)).to(device);
  const double scale = scale_of(dim);
  OpCase op;
  op.ours = [=](const Tensors& in) { return Tensors{kernels::cached_attention(in[0], in[1], in[2], lengths, scale)}; };
  op.reference = [=](const Tensors& in) {
    return Tensors{kernels::cached_attention_reference(in[0], in[1], in[2], lengths, scale)};
  };
  const auto cache = [&](uint64_t seed) { return normal({rows, capacity, kv_heads, dim}, seed).to(device, dtype_of(spec)); };
  op.inputs = {normal({rows, heads, dim}, 1).to(device, dtype_of(spec)), cache(2), cache(3)};
  op.differentiable = false;
  op.forward_bytes = static_cast<double>(op.inputs[1].nbytes() + op.inputs[2].nbytes());
  return op;
}

}  // namespace prudent::bench
