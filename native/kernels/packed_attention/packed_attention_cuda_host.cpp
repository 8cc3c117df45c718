#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_efficient_attention_backward.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "core/transfer.h"
#include "kernels/packed_attention/packed_attention_cuda.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kLargestFlashHead = 256;
// Both kernels read heads of bfloat16 in packs of 8, and of fp32 in packs of 4.
constexpr int64_t kHeadPack = 8;
constexpr int64_t kCausalFromTopLeft = 1;  // sdp::CustomMaskType

// Rows of no token take no part: a kernel need not know of them.
struct RowBounds {
  at::Tensor cu_seqlens;  // [rows + 1] int32 on the device
  int64_t longest = 0;

  RowBounds(const at::Tensor& host, const at::Device& device) {
    const int32_t* cu = host.const_data_ptr<int32_t>();
    std::vector<int32_t> bounds = {0};
    for (int64_t i = 1; i < host.numel(); ++i) {
      if (cu[i] == bounds.back()) continue;
      longest = std::max<int64_t>(longest, cu[i] - bounds.back());
      bounds.push_back(cu[i]);
    }
    cu_seqlens = to_device(at::tensor(bounds, at::kInt), device);
  }
};

at::Tensor padded(const at::Tensor& x, int64_t head_dim) {
  return x.size(2) == head_dim ? x : at::constant_pad_nd(x, {0, head_dim - x.size(2)});
}
at::Tensor unpadded(const at::Tensor& x, int64_t head_dim) { return x.size(-1) == head_dim ? x : x.narrow(-1, 0, head_dim); }

// Zeros behind the end of a head change no score, and the values that they add are cut off.
int64_t padded_head(int64_t head_dim) { return (head_dim + kHeadPack - 1) / kHeadPack * kHeadPack; }

// bfloat16, head_dim a multiple of 8 up to 256. No dropout: with it the backward at head_dim 256 needs more shared memory than
// sm_86 has.
struct FlashNode : torch::autograd::Function<FlashNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_seqlens, int64_t longest, double scale) {
    const auto [out, logsumexp, random, unused, mask] =
        at::_flash_attention_forward(q, k, v, cu_seqlens, cu_seqlens, longest, longest, /*dropout_p=*/0.0, /*is_causal=*/true,
                                     /*return_debug_mask=*/false, scale);
    context->save_for_backward({q, k, v, cu_seqlens, out, logsumexp, random, unused});
    context->saved_data["longest"] = longest;
    context->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const int64_t longest = context->saved_data["longest"].toInt();
    const auto [grad_q, grad_k, grad_v] = at::_flash_attention_backward(
        grads[0], saved[0], saved[1], saved[2], saved[4], saved[5], saved[3], saved[3], longest, longest, /*dropout_p=*/0.0,
        /*is_causal=*/true, saved[6], saved[7], context->saved_data["scale"].toDouble());
    return {grad_q, grad_k, grad_v, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// fp32 (its products are three of TF32, as exact as fp32), or larger heads. As many key as query heads.
struct EfficientNode : torch::autograd::Function<EfficientNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_seqlens, int64_t longest, double scale) {
    const auto [out, logsumexp, seed, offset, longest_q, longest_k] = at::_efficient_attention_forward(
        q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), std::nullopt, cu_seqlens, cu_seqlens, longest, longest,
        /*dropout_p=*/0.0, kCausalFromTopLeft, /*compute_log_sumexp=*/true, scale);
    context->save_for_backward({q, k, v, cu_seqlens, out, logsumexp, seed, offset});
    context->saved_data["longest"] = longest;
    context->saved_data["scale"] = scale;
    return out.squeeze(0);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const int64_t longest = context->saved_data["longest"].toInt();
    // More than one split of the keys adds up the gradient of the queries in whatever order blocks finish.
    const std::optional<int64_t> splits =
        at::globalContext().deterministicAlgorithms() ? std::optional<int64_t>(1) : std::nullopt;
    const auto [grad_q, grad_k, grad_v, grad_bias] = at::_efficient_attention_backward(
        grads[0].contiguous().unsqueeze(0), saved[0].unsqueeze(0), saved[1].unsqueeze(0), saved[2].unsqueeze(0), std::nullopt,
        saved[4], saved[3], saved[3], longest, longest, saved[5], /*dropout_p=*/0.0, saved[6], saved[7], kCausalFromTopLeft,
        /*bias_requires_grad=*/false, context->saved_data["scale"].toDouble(), splits);
    return {grad_q.squeeze(0), grad_k.squeeze(0), grad_v.squeeze(0), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

// [tokens, kv_heads, head_dim] -> [tokens, heads, head_dim]; autograd adds up the gradients of a group.
at::Tensor repeated(const at::Tensor& x, int64_t heads) {
  const int64_t tokens = x.size(0), kv_heads = x.size(1), head_dim = x.size(2);
  if (kv_heads == heads) return x;
  return x.unsqueeze(2).expand({tokens, kv_heads, heads / kv_heads, head_dim}).reshape({tokens, heads, head_dim});
}

}  // namespace

at::Tensor packed_attention_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens,
                                 double scale) {
  if (q.size(0) == 0) return at::empty_like(q);
  const RowBounds bounds(cu_seqlens, q.device());
  const int64_t head_dim = q.size(2), width = padded_head(head_dim);
  const at::Tensor wide_q = padded(q, width), wide_k = padded(k, width), wide_v = padded(v, width);
  if (q.scalar_type() == at::kBFloat16 && width <= kLargestFlashHead) {
    // At a longest row of one token the varlen kernel would take another path, which lays the heads out anew.
    const int64_t longest = std::max<int64_t>(2, bounds.longest);
    return unpadded(FlashNode::apply(wide_q, wide_k, wide_v, bounds.cu_seqlens, longest, scale), head_dim);
  }
  const at::Tensor out = EfficientNode::apply(wide_q, repeated(wide_k, q.size(1)), repeated(wide_v, q.size(1)), bounds.cu_seqlens,
                                              bounds.longest, scale);
  return unpadded(out, head_dim);
}

}  // namespace prudent::kernels
