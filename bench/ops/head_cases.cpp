// What stands behind the last block: LM head, reward heads, the draw of a token.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include "kernels/multi_head/multi_head.h"
#include "kernels/sample/sample.h"
#include "kernels/token_logprob/token_logprob.h"
#include "op_case.h"

namespace prudent::bench {

OpCase token_logprob_case(const Json& spec, const at::Device& device) {
  const int64_t tokens = size_of(spec, "tokens"), hidden = size_of(spec, "hidden"), vocab = size_of(spec, "vocab");
  const at::Tensor targets = (at::arange(tokens, at::kLong) * 7919).remainder(vocab).to(device);
  OpCase op;
  op.ours = [=](const Tensors& in) {
    return Tensors{kernels::token_logprob(in[0], in[1], std::nullopt, targets, false).logprobs};
  };
  op.reference = [=](const Tensors& in) {
    return Tensors{kernels::token_logprob_reference(in[0], in[1], std::nullopt, targets, false).logprobs};
  };
  op.inputs = {normal({tokens, hidden}, 1).to(device, dtype_of(spec)),
               normal({vocab, hidden}, 2, 0.02).to(device, dtype_of(spec))};
  return op;
}

OpCase multi_head_case(const Json& spec, const at::Device& device) {
  const int64_t rows = size_of(spec, "rows"), hidden = size_of(spec, "hidden"), heads = size_of(spec, "heads");
  const int64_t stride = size_of(spec, "row_tokens");
  const at::Tensor index = (at::arange(1, rows + 1, at::kLong) * stride - 1).to(device);
  OpCase op;
  op.ours = [=](const Tensors& in) { return Tensors{kernels::multi_head(in[0], index, in[1])}; };
  op.reference = [=](const Tensors& in) { return Tensors{kernels::multi_head_reference(in[0], index, in[1])}; };
  op.inputs = {normal({rows * stride, hidden}, 1).to(device, dtype_of(spec)),
               normal({heads, hidden}, 2, 0.02).to(device, dtype_of(spec))};
  return op;
}

OpCase sample_case(const Json& spec, const at::Device& device) {
  const int64_t rows = size_of(spec, "rows"), vocab = size_of(spec, "vocab");
  const at::Tensor keys = at::arange(rows, at::kLong).to(device), positions = at::zeros({rows}, at::kLong).to(device);
  const kernels::SampleOptions draw{.seed = 1}, greedy{.greedy = true};
  const auto with = [=](auto sampler, const kernels::SampleOptions& options) {
    return [=](const Tensors& in) { return Tensors{sampler(in[0], keys, positions, options, nullptr)}; };
  };
  OpCase op;
  op.ours = with(kernels::sample, draw);
  op.reference = with(kernels::sample_reference, draw);
  op.check_ours = with(kernels::sample, greedy);
  op.check_reference = with(kernels::sample_reference, greedy);
  op.inputs = {normal({rows, vocab}, 1).to(device, dtype_of(spec))};
  op.differentiable = false;
  op.forward_bytes = static_cast<double>(op.inputs[0].nbytes());
  return op;
}

}  // namespace prudent::bench
