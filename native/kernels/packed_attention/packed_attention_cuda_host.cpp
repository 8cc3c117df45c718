#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_efficient_attention_backward.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "core/transfer.h"
#include "kernels/packed_attention/attention_rows.h"
#include "kernels/packed_attention/packed_attention_cuda.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kLargestFlashHead = 256;
// Both kernels read heads of bfloat16 in packs of 8, and of fp32 in packs of 4.
constexpr int64_t kHeadPack = 8;
constexpr int64_t kCausalFromBottomRight = 2;  // sdp::CustomMaskType: a row's last query sees all of its keys

// Bounds of the rows on the device, and the longest of them.
struct Bounds {
  at::Tensor queries, keys;  // [rows + 1] int32
  int64_t longest_queries, longest_keys;

  Bounds(const AttentionRows& rows, const at::Device& device)
      : queries(to_device(at::tensor(rows.query_bounds, at::kInt), device)),
        keys(rows.key_bounds == rows.query_bounds ? queries : to_device(at::tensor(rows.key_bounds, at::kInt), device)),
        longest_queries(rows.longest_queries),
        longest_keys(rows.longest_keys) {}
};

at::Tensor padded(const at::Tensor& x, int64_t head_dim) {
  return x.size(2) == head_dim ? x : at::constant_pad_nd(x, {0, head_dim - x.size(2)});
}
at::Tensor unpadded(const at::Tensor& x, int64_t head_dim) { return x.size(-1) == head_dim ? x : x.narrow(-1, 0, head_dim); }

// Zeros behind the end of a head change no score, and the values that they add are cut off.
int64_t padded_head(int64_t head_dim) { return (head_dim + kHeadPack - 1) / kHeadPack * kHeadPack; }

void keep(AutogradContext* context, const Bounds& bounds, double scale) {
  context->saved_data["longest_queries"] = bounds.longest_queries;
  context->saved_data["longest_keys"] = bounds.longest_keys;
  context->saved_data["scale"] = scale;
}
int64_t kept(AutogradContext* context, const char* name) { return context->saved_data[name].toInt(); }

// bfloat16, head_dim a multiple of 8 up to 256. No dropout: with it the backward at head_dim 256 needs more shared memory than
// sm_86 has.
struct FlashNode : torch::autograd::Function<FlashNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Bounds* bounds, double scale) {
    const auto [out, logsumexp, random, unused, mask] = at::_flash_attention_forward(
        q, k, v, bounds->queries, bounds->keys, bounds->longest_queries, bounds->longest_keys, /*dropout_p=*/0.0,
        /*is_causal=*/true, /*return_debug_mask=*/false, scale);
    context->save_for_backward({q, k, v, out, logsumexp, bounds->queries, bounds->keys, random, unused});
    keep(context, *bounds, scale);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const auto [grad_q, grad_k, grad_v] =
        at::_flash_attention_backward(grads[0], saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], saved[6],
                                      kept(context, "longest_queries"), kept(context, "longest_keys"), /*dropout_p=*/0.0,
                                      /*is_causal=*/true, saved[7], saved[8], context->saved_data["scale"].toDouble());
    return {grad_q, grad_k, grad_v, at::Tensor(), at::Tensor()};
  }
};

// fp32 (its products are three of TF32, about as exact as fp32), or larger heads. As many key as query heads.
struct EfficientNode : torch::autograd::Function<EfficientNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Bounds* bounds, double scale) {
    const auto [out, logsumexp, seed, offset, longest_q, longest_k] = at::_efficient_attention_forward(
        q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), std::nullopt, bounds->queries, bounds->keys, bounds->longest_queries,
        bounds->longest_keys, /*dropout_p=*/0.0, kCausalFromBottomRight, /*compute_log_sumexp=*/true, scale);
    context->save_for_backward({q, k, v, out, logsumexp, bounds->queries, bounds->keys, seed, offset});
    keep(context, *bounds, scale);
    return out.squeeze(0);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    // More than one split of the keys adds up the gradient of the queries in whatever order blocks finish.
    const std::optional<int64_t> splits =
        at::globalContext().deterministicAlgorithms() ? std::optional<int64_t>(1) : std::nullopt;
    const auto [grad_q, grad_k, grad_v, grad_bias] = at::_efficient_attention_backward(
        grads[0].contiguous().unsqueeze(0), saved[0].unsqueeze(0), saved[1].unsqueeze(0), saved[2].unsqueeze(0), std::nullopt,
        saved[3], saved[5], saved[6], kept(context, "longest_queries"), kept(context, "longest_keys"), saved[4],
        /*dropout_p=*/0.0, saved[7], saved[8], kCausalFromBottomRight, /*bias_requires_grad=*/false,
        context->saved_data["scale"].toDouble(), splits);
    return {grad_q.squeeze(0), grad_k.squeeze(0), grad_v.squeeze(0), at::Tensor(), at::Tensor()};
  }
};

// [tokens, kv_heads, head_dim] -> [tokens, heads, head_dim]; autograd adds up the gradients of a group.
at::Tensor repeated(const at::Tensor& x, int64_t heads) {
  const int64_t tokens = x.size(0), kv_heads = x.size(1), head_dim = x.size(2);
  if (kv_heads == heads) return x;
  return x.unsqueeze(2).expand({tokens, kv_heads, heads / kv_heads, head_dim}).reshape({tokens, heads, head_dim});
}

}  // namespace

at::Tensor packed_attention_cuda(const at::Tensor& q, const at::Tensor& k_in, const at::Tensor& v_in,
                                 const AttentionLayout& layout, double scale) {
  if (q.size(0) == 0) return at::empty_like(q);
  const AttentionRows rows(layout);
  Bounds bounds(rows, q.device());
  at::Tensor k = k_in, v = v_in;
  if (!rows.keys_as_they_are()) {
    // Keys of a shared prefix are laid out once for each row that continues it; autograd adds their gradients up.
    const at::Tensor keys = to_device(at::tensor(rows.keys, at::kLong), q.device());
    k = at::index_select(k, 0, keys);
    v = at::index_select(v, 0, keys);
  }
  const int64_t head_dim = q.size(2), width = padded_head(head_dim);
  k = padded(k, width);
  v = padded(v, width);
  if (q.scalar_type() == at::kBFloat16 && width <= kLargestFlashHead) {
    // With a longest row of one query the varlen kernel would take another path, which lays the heads out anew.
    bounds.longest_queries = std::max<int64_t>(2, bounds.longest_queries);
    return unpadded(FlashNode::apply(padded(q, width), k, v, &bounds, scale), head_dim);
  }
  const at::Tensor out = EfficientNode::apply(padded(q, width), repeated(k, q.size(1)), repeated(v, q.size(1)), &bounds, scale);
  return unpadded(out, head_dim);
}

}  // namespace prudent::kernels
