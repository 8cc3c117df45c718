#include "kernels/token_logprob/token_logprob.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <doctest/doctest.h>

#include "core/cpu_memory.h"
#include "core/error.h"
#include "kernels/common/gradient_sums.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

at::Tensor targets(int64_t tokens, int64_t vocab) {
  return at::arange(tokens, at::TensorOptions().dtype(at::kLong)).mul(31).add(vocab - 1).remainder(vocab);
}
// hidden, weight[, bias]
Function op(const at::Tensor& ids, double temperature) {
  return [=](const Tensors& in) {
    const auto bias = in.size() > 2 ? std::optional(in[2]) : std::nullopt;
    return Tensors{kernels::token_logprob(in[0], in[1], bias, ids, false, temperature).logprobs};
  };
}
Function reference(const at::Tensor& ids, double temperature) {
  return [=](const Tensors& in) {
    const auto bias = in.size() > 2 ? std::optional(in[2]) : std::nullopt;
    return Tensors{kernels::token_logprob_reference(in[0], in[1], bias, ids, false, temperature).logprobs};
  };
}

}  // namespace

TEST_CASE("token_logprob: parity and gradient over odd shapes") {
  for (const auto& [tokens, hidden, vocab] : {std::tuple(1, 4, 3), {1, 16, 512}, {7, 20, 37}, {70, 64, 515}}) {
    CAPTURE(tokens);
    CAPTURE(vocab);
    const at::Tensor ids = targets(tokens, vocab);
    // Small hidden states keep every token of the vocabulary likely enough to show in the twin.
    const Tensors plain = {normal({tokens, hidden}, 1, 0.2), normal({vocab, hidden}, 2)};
    const Tensors biased = {plain[0], plain[1], normal({vocab}, 3)};
    check_parity(op(ids, 1.0), reference(ids, 1.0), plain, kParityMatmulFp32);
    check_parity(op(ids, 0.7), reference(ids, 0.7), biased, kParityMatmulFp32);
    check_parity_bf16(op(ids, 1.0), reference(ids, 1.0), plain);
    check_parity_bf16(op(ids, 0.7), reference(ids, 0.7), biased);
  }
}

TEST_CASE("token_logprob: parity and gradient when the vocabulary is cut into chunks") {
  // 2^24 items a chunk: 10000 tokens see 1664 columns at once. The emulator has smaller chunks.
  const int64_t tokens = 10000 / (kFewer * kFewer), vocab = 1800;
  const at::Tensor ids = targets(tokens, vocab);
  const Tensors in = {normal({tokens, 3}, 1), normal({vocab, 3}, 2)};
  check_parity(op(ids, 1.0), reference(ids, 1.0), in, 5 * kParityMatmulFp32);  // sums of 10000 terms
  const auto ours = kernels::token_logprob(in[0], in[1], std::nullopt, ids, true);
  const auto truth = kernels::token_logprob_reference(in[0].to(at::kDouble), in[1].to(at::kDouble), std::nullopt, ids, true);
  CHECK(error_of(ours.entropy, truth.entropy) <= kParityMatmulFp32);
  const at::Tensor ref_hidden = normal({tokens, 2}, 3), ref_weight = normal({vocab, 2}, 4);
  CHECK(error_of(kernels::token_kl(in[0], in[1], ref_hidden, ref_weight),
                 kernels::token_kl_reference(in[0], in[1], ref_hidden, ref_weight)) <= kParityMatmulFp32);
}

TEST_CASE("token_logprob: gradient of the reference against differences") {
  check_differences(reference(targets(4, 9), 0.7), {normal({4, 5}, 1), normal({9, 5}, 2), normal({9}, 3)});
}

TEST_CASE("token_logprob: backward twice over a retained graph") {
  const at::Tensor ids = targets(3, 9), hidden = normal({3, 5}, 1).requires_grad_(), weight = normal({9, 5}, 2);
  const at::Tensor loss = kernels::token_logprob(hidden, weight, std::nullopt, ids, false).logprobs.sum();
  loss.backward({}, true);
  const at::Tensor once = hidden.grad().clone();
  loss.backward({}, true);
  CHECK(error_of(hidden.grad(), once * 2.0) <= kParityFp32);
}

TEST_CASE("token_logprob: parity of the entropy") {
  for (const auto& [tokens, vocab] : {std::pair(1, 3), {9, 37}, {20, 512}}) {
    const at::Tensor hidden = normal({tokens, 8}, 1), weight = normal({vocab, 8}, 2), ids = targets(tokens, vocab);
    const auto ours = kernels::token_logprob(hidden, weight, std::nullopt, ids, true, 0.8);
    const auto truth = kernels::token_logprob_reference(hidden, weight, std::nullopt, ids, true, 0.8);
    CHECK(error_of(ours.entropy, truth.entropy) <= kParityMatmulFp32);
    CHECK(error_of(kernels::token_logprob(hidden, weight, std::nullopt, ids, true, 0.9).entropy, truth.entropy) >
          kParityMatmulFp32);
    CHECK(!kernels::token_logprob(hidden, weight, std::nullopt, ids, false).entropy.defined());
  }
}

TEST_CASE("token_logprob: parity of the exact KL, 0 between equals") {
  for (const auto& [tokens, vocab] : {std::pair(1, 3), {9, 37}, {20, 512}}) {
    const at::Tensor hidden = normal({tokens, 8}, 1), weight = normal({vocab, 8}, 2);
    const at::Tensor ref_hidden = normal({tokens, 5}, 3), ref_weight = normal({vocab, 5}, 4);
    const at::Tensor truth = kernels::token_kl_reference(hidden, weight, ref_hidden, ref_weight);
    CHECK(error_of(kernels::token_kl(hidden, weight, ref_hidden, ref_weight), truth) <= kParityMatmulFp32);
    CHECK(error_of(kernels::token_kl(hidden, weight, ref_hidden * 1.1, ref_weight), truth) > kParityMatmulFp32);
    CHECK(kernels::token_kl(hidden, weight, hidden, weight).abs().max().item<double>() <= kParityFp32);
    CHECK(truth.min().item<double>() > 0.0);
  }
}

TEST_CASE("token_logprob: logits far apart stay exact") {
  const at::Tensor hidden = normal({4, 8}, 1, 40.0), weight = normal({50, 8}, 2, 4.0), ids = targets(4, 50);
  const at::Tensor truth =
      kernels::token_logprob_reference(hidden.to(at::kDouble), weight.to(at::kDouble), std::nullopt, ids, false).logprobs;
  CHECK(error_of(kernels::token_logprob(hidden, weight, std::nullopt, ids, false).logprobs, truth) <= kParityMatmulFp32);
}

#ifndef PRUDENT_CUDA_EMULATED  // whose chunks are its own
TEST_CASE("token_logprob: forward and backward take a tenth of the reference's memory beside the weight's gradient") {
  constexpr int64_t kTokens = 640, kVocab = 50257;
  const at::Tensor ids = targets(kTokens, kVocab);
  const auto most = [&](const auto& logprobs_of) {
    const at::Tensor hidden = normal({kTokens, 8}, 1).requires_grad_(), weight = normal({kVocab, 8}, 2).requires_grad_();
    kernels::GradientSum sum(weight, at::kFloat);
    sum.opened();
    const kernels::GradientSums sums{{weight.unsafeGetTensorImpl(), &sum}};
    const kernels::ActiveGradientSums scope(sums);
    release_free_cpu_memory();
    const int64_t before = cpu_memory().used;
    logprobs_of(hidden, weight).sum().backward();
    return cpu_memory().most - before;
  };
  const int64_t ours = most([&](const at::Tensor& hidden, const at::Tensor& weight) {
    return kernels::token_logprob(hidden, weight, std::nullopt, ids, false).logprobs;
  });
  const int64_t reference = most([&](const at::Tensor& hidden, const at::Tensor& weight) {
    return kernels::token_logprob_reference(hidden, weight, std::nullopt, ids, false).logprobs;
  });
  if (reference == 0) return;  // PRUDENT_CPU_CACHE=0: nothing is counted
  CHECK(reference > 2 * kTokens * kVocab * static_cast<int64_t>(sizeof(float)));
  CHECK(ours < reference / 10);
  MESSAGE("bytes: " << ours << " of " << reference);
}
#endif

TEST_CASE("token_logprob: wrong arguments are named") {
  CHECK_THROWS_WITH_AS(kernels::token_logprob(normal({2, 4}, 1), normal({5, 4}, 2), std::nullopt, targets(2, 5) + 4, false),
                       "targets[0]: expected a number from 0 to 4, received 8", Error);
  CHECK_THROWS_AS(kernels::token_logprob(normal({2, 4}, 1), normal({5, 3}, 2), std::nullopt, targets(2, 5), false), Error);
}

}  // namespace prudent::tests
