#include "kernels/token_logprob/token_logprob.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "kernels/common/autograd.h"
#include "kernels/common/gradient_sums.h"
#include "kernels/common/run_kernel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packed_weights.h"
#include "kernels/token_logprob/token_logprob_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Items of one chunk of logits, 16 MiB in fp32: smaller ones cut the weight gradient's product into pieces that are all packing
// (measured from 2^19 to 2^24 at 1280 tokens and a vocabulary of 50257: 2^20 costs 3 % more in fp32 and 14 % in bf16). The
// vocabulary is cut, not the tokens: then a chunk's part of the weight gradient is complete, and only the small gradient of the
// hidden states adds up over chunks.
#ifndef PRUDENT_CUDA_EMULATED
constexpr int64_t kChunkItems = int64_t{1} << 22;
// Up to this many logits in all (8 MiB in fp32) they are kept for backward instead of being computed again.
constexpr int64_t kKeptItems = int64_t{1} << 21;
#else  // small, for tests that execute CUDA kernels slowly
constexpr int64_t kChunkItems = int64_t{1} << 14;
constexpr int64_t kKeptItems = int64_t{1} << 12;
#endif
// On CUDA a chunk is large enough for its matrix products to run at full rate (256 MiB in bf16), and what fits into one chunk is
// kept: its memory is needed again by the backward, which comes next. So batches of that size do the work of dense logits.
constexpr int64_t kCudaChunkItems = int64_t{1} << 27;
constexpr int64_t kCudaKeptItems = kCudaChunkItems;
// Tokens of a chunk lie this many items apart, or a multiple: matrix products and packs of 16 bytes then meet aligned rows,
// whatever the vocabulary (GPT-2's is odd).
constexpr int64_t kCudaRowItems = 64;

int64_t kept_items(const at::Tensor& hidden) { return hidden.is_cuda() ? kCudaKeptItems : kKeptItems; }

struct Head {
  at::Tensor weight, bias;  // bias undefined: none
  double temperature;

  [[nodiscard]] int64_t vocab() const { return weight.size(0); }
  [[nodiscard]] int64_t chunk_columns(int64_t tokens) const {
    if (tokens * vocab() <= kept_items(weight)) return vocab();
    const int64_t items = weight.is_cuda() ? kCudaChunkItems : kChunkItems;
    const int64_t columns = std::max<int64_t>(512, items / std::max<int64_t>(tokens, 1) / 64 * 64);
    return std::min(columns, vocab());
  }
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden, int64_t first, int64_t columns) const {
    const at::Tensor rows = weight.narrow(0, first, columns).t();
    if (!runs_cuda_kernels(hidden)) return kernels::matmul(hidden, rows);
    at::Tensor out = empty_chunk(hidden, columns);
    matmul_into(out, hidden, rows);
    return out;
  }
  // [tokens, columns] in the dtype of the hidden states
  static at::Tensor empty_chunk(const at::Tensor& hidden, int64_t columns) {
    const int64_t step = runs_cuda_kernels(hidden) ? kCudaRowItems : 1;
    return at::empty({hidden.size(0), (columns + step - 1) / step * step}, hidden.options()).narrow(1, 0, columns);
  }
  [[nodiscard]] LogitsChunk describe_chunk(const at::Tensor& logits, int64_t first) const {
    return {.logits = logits.mutable_data_ptr(),
            .tokens = logits.size(0),
            .columns = logits.size(1),
            .stride = logits.stride(0),
            .first = first,
            .bias = bias.defined() ? static_cast<const char*>(bias.const_data_ptr()) + first * bias.element_size() : nullptr,
            .inverse_temperature = static_cast<float>(1.0 / temperature),
            .bf16 = logits.scalar_type() == at::kBFloat16};
  }
};

// [tokens, 4] fp32: a SoftmaxState for each token, made by the first chunk.
struct States {
  at::Tensor memory;
  explicit States(const at::Tensor& hidden) : memory(at::empty({hidden.size(0), 4}, hidden.options().dtype(at::kFloat))) {
    static_assert(sizeof(SoftmaxState) == 4 * sizeof(float));
  }
  [[nodiscard]] SoftmaxState* data() const { return reinterpret_cast<SoftmaxState*>(memory.mutable_data_ptr<float>()); }
};

struct Forward {
  TokenLogprob out;
  at::Tensor logsumexps;  // [tokens]
  at::Tensor logits;      // [tokens, vocab] when it is small enough to keep
};

Forward run_forward(const at::Tensor& hidden, const Head& head, const at::Tensor& targets, bool want_entropy) {
  const int64_t tokens = hidden.size(0), step = head.chunk_columns(tokens);
  const States states(hidden);
  Forward result;
  for (int64_t first = 0; first < head.vocab(); first += step) {
    const at::Tensor logits = head.logits(hidden, first, std::min(step, head.vocab() - first));
    const LogprobAccumulate args{head.describe_chunk(logits, first), targets.const_data_ptr<int64_t>(), states.data(),
                                 want_entropy};
    if (tokens > 0) PRUDENT_RUN_KERNEL(logprob_accumulate, args, hidden);
    if (step == head.vocab() && logits.numel() <= kept_items(hidden)) result.logits = logits;
  }
  const auto fp32 = hidden.options().dtype(at::kFloat);
  result.out.logprobs = at::empty({tokens}, fp32);
  result.logsumexps = at::empty({tokens}, fp32);
  if (want_entropy) result.out.entropy = at::empty({tokens}, fp32);
  const LogprobFinish args{states.data(), result.out.logprobs.mutable_data_ptr<float>(),
                           result.logsumexps.mutable_data_ptr<float>(),
                           want_entropy ? result.out.entropy.mutable_data_ptr<float>() : nullptr, tokens};
  if (tokens > 0) PRUDENT_RUN_KERNEL(logprob_finish, args, hidden);
  return result;
}

struct Wanted {
  bool hidden, weight, bias;
};

// Gradients of hidden, weight and bias.
variable_list run_backward(const at::Tensor& hidden, const Head& head, const at::Tensor& targets, const at::Tensor& logsumexps,
                           const at::Tensor& kept, const at::Tensor& grad, Wanted wanted) {
  const int64_t tokens = hidden.size(0), step = kept.defined() ? head.vocab() : head.chunk_columns(tokens);
  at::Tensor grad_hidden, grad_weight, grad_bias;
  if (wanted.hidden) grad_hidden = at::empty(hidden.sizes(), hidden.options().dtype(at::kFloat));
  GradientSum* const weight_sum = wanted.weight ? gradient_sum_of(head.weight) : nullptr;
  if (wanted.weight && weight_sum == nullptr) grad_weight = at::empty(head.weight.sizes(), head.weight.options());
  if (wanted.bias) grad_bias = at::empty(head.bias.sizes(), head.bias.options());
  for (int64_t first = 0; first < head.vocab(); first += step) {
    const int64_t columns = std::min(step, head.vocab() - first);
    // Kept logits stay as they are: backward may run again over a retained graph.
    const at::Tensor logits = kept.defined() ? kept : head.logits(hidden, first, columns);
    const at::Tensor slopes = kept.defined() ? Head::empty_chunk(hidden, columns) : logits;
    const LogprobGradient args{head.describe_chunk(logits, first), slopes.mutable_data_ptr(), targets.const_data_ptr<int64_t>(),
                               logsumexps.const_data_ptr<float>(), grad.const_data_ptr<float>()};
    if (tokens > 0) PRUDENT_RUN_KERNEL(logprob_gradient, args, hidden);
    if (wanted.hidden) matmul_into(grad_hidden, slopes, head.weight.narrow(0, first, columns), /*accumulate=*/first > 0);
    if (weight_sum != nullptr) {
      weight_sum->add_rows(first, slopes.t(), hidden);
    } else if (wanted.weight) {
      at::Tensor rows = grad_weight.narrow(0, first, columns);
      matmul_into(rows, slopes.t(), hidden);
    }
    if (wanted.bias) grad_bias.narrow(0, first, columns).copy_(slopes.sum(0, false, at::kFloat));
  }
  if (weight_sum != nullptr) weight_sum->finish_rows();
  if (wanted.hidden) grad_hidden = grad_hidden.to(hidden.scalar_type());
  return {grad_hidden, grad_weight, grad_bias};
}

struct TokenLogprobNode : torch::autograd::Function<TokenLogprobNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const std::optional<at::Tensor>& optional_bias, const at::Tensor& targets, double temperature,
                            at::Tensor* entropy) {
    const at::Tensor bias = value_of(optional_bias);
    const Forward result = run_forward(hidden, Head{weight, bias, temperature}, targets, entropy != nullptr);
    context->save_for_backward({hidden, weight, bias, targets, result.logsumexps, result.logits});
    context->saved_data["temperature"] = temperature;
    if (entropy != nullptr) *entropy = result.out.entropy;
    return result.out.logprobs;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const Head head{saved[1], saved[2], context->saved_data["temperature"].toDouble()};
    const Wanted wanted{context->needs_input_grad(0), context->needs_input_grad(1),
                        head.bias.defined() && context->needs_input_grad(2)};
    const variable_list out = run_backward(saved[0], head, saved[3], saved[4], saved[5], grads[0].contiguous(), wanted);
    return {out[0], out[1], out[2], at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

void check_pair(const at::Tensor& hidden, const char* hidden_name, const at::Tensor& weight, const char* weight_name) {
  check_kernel_dtype(hidden, hidden_name);
  check_dims(hidden, hidden_name, 2, "[tokens, hidden]");
  check_same_dtype(weight, weight_name, hidden);
  check_dims(weight, weight_name, 2, "[vocab, hidden]");
  check_shape(weight, weight_name, {weight.size(0), hidden.size(1)});
  PRUDENT_CHECK(weight.numel() > 0, "E_SHAPE", weight_name, "a vocabulary of at least one token", shape_text(weight.sizes()));
  check_same_device(weight, weight_name, hidden);
  check_device(hidden, hidden_name);
}

}  // namespace

TokenLogprob token_logprob(const at::Tensor& hidden, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           const at::Tensor& targets, bool want_entropy, double temperature) {
  check_pair(hidden, "hidden", weight, "weight");
  if (bias) {
    check_same_dtype(*bias, "bias", hidden);
    check_shape(*bias, "bias", {weight.size(0)});
    check_same_device(*bias, "bias", hidden);
  }
  check_dtype(targets, "targets", at::kLong);
  check_shape(targets, "targets", {hidden.size(0)});
  check_same_device(targets, "targets", hidden);
  check_range(targets, "targets", 0, weight.size(0) - 1);
  PRUDENT_CHECK(temperature > 0.0, "E_RANGE", "temperature", "a number above 0", std::to_string(temperature));
  if (is_differentiated({weight})) forget_packed_weights(weight);
  TokenLogprob out;
  out.logprobs = TokenLogprobNode::apply(hidden.contiguous(), weight.contiguous(),
                                         bias ? std::make_optional(bias->contiguous()) : std::nullopt, targets.contiguous(),
                                         temperature, want_entropy ? &out.entropy : nullptr);
  return out;
}

at::Tensor token_kl(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& ref_hidden,
                    const at::Tensor& ref_weight) {
  check_pair(hidden, "hidden", weight, "weight");
  check_pair(ref_hidden, "ref_hidden", ref_weight, "ref_weight");
  check_same_dtype(ref_hidden, "ref_hidden", hidden);
  check_same_device(ref_hidden, "ref_hidden", hidden);
  check_shape(ref_hidden, "ref_hidden", {hidden.size(0), ref_hidden.size(1)});
  check_shape(ref_weight, "ref_weight", {weight.size(0), ref_weight.size(1)});

  const Head head{weight.detach(), at::Tensor(), 1.0}, ref_head{ref_weight.detach(), at::Tensor(), 1.0};
  const at::Tensor p_hidden = hidden.detach(), q_hidden = ref_hidden.detach();
  const int64_t tokens = hidden.size(0), step = head.chunk_columns(tokens);
  const States p(p_hidden), q(p_hidden);
  for (int64_t first = 0; first < head.vocab(); first += step) {
    const int64_t columns = std::min(step, head.vocab() - first);
    const at::Tensor p_logits = head.logits(p_hidden, first, columns), q_logits = ref_head.logits(q_hidden, first, columns);
    const KlAccumulate args{head.describe_chunk(p_logits, first), ref_head.describe_chunk(q_logits, first), p.data(), q.data()};
    if (tokens > 0) PRUDENT_RUN_KERNEL(kl_accumulate, args, hidden);
  }
  const at::Tensor out = at::empty({tokens}, p_hidden.options().dtype(at::kFloat));
  const KlFinish args{p.data(), q.data(), out.mutable_data_ptr<float>(), tokens};
  if (tokens > 0) PRUDENT_RUN_KERNEL(kl_finish, args, hidden);
  return out;
}

}  // namespace prudent::kernels
