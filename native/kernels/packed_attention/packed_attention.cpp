#include "kernels/packed_attention/packed_attention.h"

#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "kernels/common/run_kernel.h"
#include "kernels/packed_attention/attention_plan.h"
#include "kernels/packed_attention/packed_attention_kernel.h"
#ifdef PRUDENT_CUDA
#include "kernels/packed_attention/packed_attention_cuda.h"
#endif

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Tokens may lie apart, as in a slice of a fused projection; heads may not.
at::Tensor with_dense_heads(const at::Tensor& x) { return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous(); }

// The plan's shape with what the tensors say.
AttentionShape shape_of(const AttentionPlan& plan, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  AttentionShape shape = plan.shape();
  shape.q_stride = q.stride(0);
  shape.k_stride = k.stride(0);
  shape.v_stride = v.stride(0);
  shape.scale = static_cast<float>(scale);
  shape.bf16 = q.scalar_type() == at::kBFloat16;
  return shape;
}

// [tokens, heads, head_dim] fp32 -> [tokens, kv_heads, head_dim] in the dtype of `like`.
at::Tensor sum_groups(const at::Tensor& per_head, const at::Tensor& like) {
  const int64_t group = per_head.size(1) / like.size(1);
  return per_head.view({like.size(0), like.size(1), group, like.size(2)}).sum(2).to(like.scalar_type());
}

void run(const AttentionForward& args) {
#ifdef PRUDENT_AMX
  if (args.shape.bf16 && has_amx()) return amx::attention_forward_tiles(args);
#endif
  PRUDENT_RUN_CPU_KERNEL(attention_forward, args);
}
void run(const AttentionBackward& args) {
#ifdef PRUDENT_AMX
  if (args.shape.bf16 && has_amx()) return amx::attention_backward_tiles(args);
#endif
  PRUDENT_RUN_CPU_KERNEL(attention_backward, args);
}

struct PackedAttentionNode : torch::autograd::Function<PackedAttentionNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionLayout& layout, double scale) {
    const at::Tensor out = at::empty(q.sizes(), q.options());
    const at::Tensor logsumexp = at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat));
    AttentionPlan plan(layout, q.size(1), k.size(1), q.size(2));
    plan.plan_forward();
    const AttentionForward args{.shape = shape_of(plan, q, k, v, scale),
                                .q = q.const_data_ptr(),
                                .k = k.const_data_ptr(),
                                .v = v.const_data_ptr(),
                                .out = out.mutable_data_ptr(),
                                .logsumexp = logsumexp.mutable_data_ptr<float>()};
    run(args);
    context->save_for_backward({q, k, v, out, logsumexp, layout.cu_seqlens, layout.parents, layout.queries});
    context->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    AttentionPlan plan({saved[5], saved[6], saved[7]}, q.size(1), k.size(1), q.size(2));
    const bool per_head = plan.plan_backward();
    const at::Tensor grad_out = grads[0].contiguous(), grad_q = at::empty(q.sizes(), q.options());
    const auto gradient_of = [&](const at::Tensor& x) {
      return per_head ? at::empty({x.size(0), q.size(1), x.size(2)}, x.options().dtype(at::kFloat))
                      : at::empty(x.sizes(), x.options());
    };
    const at::Tensor grad_k = gradient_of(k), grad_v = gradient_of(v);
    const AttentionBackward args{.shape = shape_of(plan, q, k, v, context->saved_data["scale"].toDouble()),
                                 .q = q.const_data_ptr(),
                                 .k = k.const_data_ptr(),
                                 .v = v.const_data_ptr(),
                                 .out = saved[3].const_data_ptr(),
                                 .grad_out = grad_out.const_data_ptr(),
                                 .logsumexp = saved[4].const_data_ptr<float>(),
                                 .grad_q = grad_q.mutable_data_ptr(),
                                 .grad_k = grad_k.mutable_data_ptr(),
                                 .grad_v = grad_v.mutable_data_ptr(),
                                 .per_head = per_head};
    run(args);
    return {grad_q, per_head ? sum_groups(grad_k, k) : grad_k, per_head ? sum_groups(grad_v, v) : grad_v, at::Tensor(),
            at::Tensor()};
  }
};

void check_head_counts(const at::Tensor& q, const at::Tensor& k, const char* k_name) {
  PRUDENT_CHECK(k.size(-2) > 0 && q.size(1) % k.size(-2) == 0, "E_SHAPE", k_name,
                "a number of heads that divides the " + std::to_string(q.size(1)) + " of q", describe(k));
  PRUDENT_CHECK(q.size(2) > 0, "E_SHAPE", "q", "head_dim of at least 1", describe(q));
}

// Into how many parts CUDA cuts the keys of a row: enough blocks for every multiprocessor where rows are few, and no part so
// short that joining them costs more than it gains. Lengths are not known to the host; every row cuts its own.
int64_t cached_splits(int64_t rows, int64_t heads, int64_t kv_heads, int64_t capacity) {
  constexpr int64_t kEnoughBlocks = 512, kShortestPart = 64, kMost = 64;
  const int64_t groups = kv_heads * ((heads / kv_heads + kCachedHeads - 1) / kCachedHeads);
  const int64_t wanted = std::max<int64_t>(1, kEnoughBlocks / std::max<int64_t>(1, rows * groups));
  return std::min({wanted, (capacity + kShortestPart - 1) / kShortestPart, kMost});
}

}  // namespace

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionLayout& layout,
                            double scale) {
  check_kernel_dtype(q, "q");
  check_dims(q, "q", 3, "[queries, heads, head_dim]");
  check_same_dtype(k, "k", q);
  check_dims(k, "k", 3, "[tokens, kv_heads, head_dim]");
  if (!layout.queries.defined()) check_shape(k, "k", {q.size(0), k.size(1), q.size(2)});
  check_shape(k, "k", {k.size(0), k.size(1), q.size(2)});
  check_same_dtype(v, "v", q);
  check_shape(v, "v", {k.size(0), k.size(1), q.size(2)});
  check_same_device(k, "k", q);
  check_same_device(v, "v", q);
  check_head_counts(q, k, "k");
  check_attention_layout(layout, q.size(0), k.size(0));
  check_device(q, "q");
#ifdef PRUDENT_CUDA
  if (q.is_cuda()) return packed_attention_cuda(with_dense_heads(q), with_dense_heads(k), with_dense_heads(v), layout, scale);
#endif
  return PackedAttentionNode::apply(with_dense_heads(q), with_dense_heads(k), with_dense_heads(v), layout, scale);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache, const at::Tensor& lengths,
                            double scale) {
  check_kernel_dtype(q, "q");
  check_dims(q, "q", 3, "[rows, heads, head_dim]");
  check_same_dtype(k_cache, "k_cache", q);
  check_dims(k_cache, "k_cache", 4, "[rows, capacity, kv_heads, head_dim]");
  check_shape(k_cache, "k_cache", {q.size(0), k_cache.size(1), k_cache.size(2), q.size(2)});
  check_same_dtype(v_cache, "v_cache", q);
  check_shape(v_cache, "v_cache", {q.size(0), k_cache.size(1), k_cache.size(2), q.size(2)});
  check_same_device(k_cache, "k_cache", q);
  check_same_device(v_cache, "v_cache", q);
  check_head_counts(q, k_cache, "k_cache");
  check_dtype(lengths, "lengths", at::kInt);
  check_shape(lengths, "lengths", {q.size(0)});
  check_same_device(lengths, "lengths", q);
  check_range(lengths, "lengths", 1, k_cache.size(1));
  check_device(q, "q");
  const bool cuda = runs_cuda_kernels(q);
  PRUDENT_CHECK(!cuda || q.size(2) <= kLargestCachedHead, "E_SHAPE", "q",
                "head_dim of at most " + std::to_string(kLargestCachedHead) + " on CUDA", describe(q));

  const at::Tensor dense = with_dense_heads(q.detach()), valid = lengths.contiguous();
  // A slice of a larger cache (fewer rows or positions) keeps its strides; both caches are laid out alike.
  const bool strided = k_cache.strides() == v_cache.strides() && k_cache.stride(3) == 1 && k_cache.stride(2) == k_cache.size(3);
  const at::Tensor k = strided ? k_cache : k_cache.contiguous(), v = strided ? v_cache : v_cache.contiguous();
  const at::Tensor out = at::empty(q.sizes(), dense.options());
  if (q.size(0) == 0) return out;
  const int32_t* length = valid.const_data_ptr<int32_t>();
  const int64_t splits = cuda ? cached_splits(q.size(0), q.size(1), k.size(2), k.size(1)) : 1;
  const at::Tensor partial =
      at::empty({splits > 1 ? splits : 0, q.size(0), q.size(1), q.size(2) + 2}, dense.options().dtype(at::kFloat));
  const CachedAttention args{.q = dense.const_data_ptr(),
                             .k_cache = k.const_data_ptr(),
                             .v_cache = v.const_data_ptr(),
                             .lengths = length,
                             .out = out.mutable_data_ptr(),
                             .rows = q.size(0),
                             .heads = q.size(1),
                             .kv_heads = k.size(2),
                             .head_dim = q.size(2),
                             .capacity = k.size(1),
                             .max_length = cuda ? 0 : *std::max_element(length, length + q.size(0)),
                             .q_stride = dense.stride(0),
                             .cache_row_stride = k.stride(0),
                             .cache_token_stride = k.stride(1),
                             .scale = static_cast<float>(scale),
                             .bf16 = q.scalar_type() == at::kBFloat16,
                             .splits = splits,
                             .partial = partial.mutable_data_ptr<float>()};
  PRUDENT_RUN_KERNEL(attention_cached, args, q);
  return out;
}

}  // namespace prudent::kernels
