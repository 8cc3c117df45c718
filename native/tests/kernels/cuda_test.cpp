// Every kernel on a real GPU against its plain reference on the CPU, with the tolerances of the CPU versions. Skipped where there
// is no GPU; there test_cuda_emulation runs the same sources on the CPU, with all tests of the kernels.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>

#include "core/determinism.h"
#include "kernels/activation_backward/activation_backward.h"
#include "kernels/adamw/adamw.h"
#include "kernels/bradley_terry/bradley_terry.h"
#include "kernels/geglu/geglu.h"
#include "kernels/global_norm/global_norm.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/multi_head/multi_head.h"
#include "kernels/op_check.h"
#include "kernels/packed_attention/packed_attention.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "kernels/sample/sample.h"
#include "kernels/token_logprob/token_logprob.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "support/test_device.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

const bool kHasCuda = [] {
  const bool found = has_cuda();
  if (!found) std::fprintf(stderr, "cuda_test: SKIPPED: no usable GPU, or a build without CUDA\n");
  return found;
}();

at::Tensor gpu(const at::Tensor& host) { return host.to(at::kCUDA); }
at::Tensor longs(const std::vector<int64_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kLong)); }
at::Tensor ints(const std::vector<int32_t>& values) { return at::tensor(values, at::TensorOptions().dtype(at::kInt)); }
at::Tensor range(int64_t count) { return at::arange(count, at::TensorOptions().dtype(at::kLong)); }

// The same function of tensors on the CPU, computed on the GPU.
Function on_gpu(const Function& op) {
  return [op](const Tensors& inputs) {
    Tensors moved, outputs;
    for (const at::Tensor& input : inputs) moved.push_back(gpu(input));
    for (const at::Tensor& output : op(moved)) outputs.push_back(output.cpu());
    return outputs;
  };
}

// In fp32 and bfloat16, outputs and gradients, with the twin that must fail.
void check_on_gpu(const Function& op, const Function& reference, const Tensors& inputs, double tolerance) {
  check_parity(on_gpu(op), reference, inputs, tolerance);
  check_parity_bf16(on_gpu(op), reference, inputs);
}

}  // namespace

TEST_SUITE("cuda" * doctest::skip(!kHasCuda)) {
  TEST_CASE("cuda: rms_norm parity and gradient") {
    for (const auto& [tokens, hidden] : {std::pair(1, 1), {3, 7}, {33, 64}, {130, 768}, {70, 2048}, {5, 8200}, {5, 40000}}) {
      for (const bool unit_offset : {false, true}) {
        CAPTURE(hidden);
        const auto of = [&](auto function) {
          return [=](const Tensors& in) { return Tensors{function(in[0], in[1], 1e-6, unit_offset)}; };
        };
        check_on_gpu(of(kernels::rms_norm), of(kernels::rms_norm_reference), {normal({tokens, hidden}, 1), normal({hidden}, 2)},
                     kParityMatmulFp32);
      }
    }
  }

  TEST_CASE("cuda: layer_norm parity and gradient") {
    for (const auto& [tokens, hidden] : {std::pair(3, 7), {33, 64}, {130, 768}, {70, 2048}, {5, 8200}, {5, 40000}}) {
      const auto of = [&](auto function) {
        return [=](const Tensors& in) { return Tensors{function(in[0], in[1], in[2], 1e-5)}; };
      };
      check_on_gpu(of(kernels::layer_norm), of(kernels::layer_norm_reference),
                   {normal({tokens, hidden}, 1), normal({hidden}, 2), normal({hidden}, 3)}, kParityMatmulFp32);
    }
  }

  TEST_CASE("cuda: activation_backward parity") {
    for (const auto& [tokens, size] : {std::pair(1, 1), {70, 7}, {33, 515}, {130, 3072}}) {
      for (const std::optional<kernels::Activation> activation :
           {std::optional<kernels::Activation>(), std::optional(kernels::Activation::GeluTanh),
            std::optional(kernels::Activation::GeluExact), std::optional(kernels::Activation::Silu)}) {
        const at::Tensor grad = normal({tokens, size}, 1), u = normal({tokens, size}, 2);
        const auto ours = kernels::activation_backward(gpu(grad), gpu(u), activation, true);
        const auto truth = kernels::activation_backward_reference(grad, u, activation, true);
        CHECK(error_of(ours.grad_u.cpu(), truth.grad_u) <= kParityFp32);
        CHECK(error_of(ours.grad_bias.cpu(), truth.grad_bias) <= kParityMatmulFp32);
        CHECK(error_of(ours.grad_bias.cpu() + 0.1, truth.grad_bias) > kParityMatmulFp32);
      }
    }
  }

  TEST_CASE("cuda: global_norm parity") {
    Tensors tensors, moved;
    uint64_t seed = 0;
    for (const int64_t size : {1, 7, 0, 8191, 8193, 100003}) {
      tensors.push_back(normal({size}, ++seed).to(seed % 2 == 0 ? at::kBFloat16 : at::kFloat));
      moved.push_back(gpu(tensors.back()));
    }
    const double truth = kernels::global_norm_reference(tensors);
    CHECK(std::abs(kernels::global_norm(moved) - truth) <= kStatisticFp32 * truth);
    CHECK(std::abs(kernels::global_norm(moved) * 1.001 - truth) > kStatisticFp32 * truth);
  }

  TEST_CASE("cuda: rotary parity and gradient") {
    for (const auto& [tokens, heads, dim] : {std::tuple(1, 1, 2), {13, 3, 32}, {40, 1, 256}, {9, 4, 20}, {300, 12, 64}}) {
      const at::Tensor frequency =
          at::arange(dim / 2, at::TensorOptions().dtype(at::kFloat)).mul(-2.0 * 9.21 / static_cast<double>(dim)).exp();
      const at::Tensor angle = at::outer(at::arange(50, at::TensorOptions().dtype(at::kFloat)), frequency);
      const at::Tensor positions = range(tokens).mul(7).remainder(50), cos = angle.cos(), sin = angle.sin();
      const Function op = [&, p = gpu(positions), c = gpu(cos), s = gpu(sin)](const Tensors& in) {
        return Tensors{kernels::rotary(in[0], p, c, s)};
      };
      const Function reference = [&](const Tensors& in) {
        return Tensors{kernels::rotary_reference(in[0], positions, cos, sin)};
      };
      check_on_gpu(op, reference, {normal({tokens, heads, dim}, 1)}, kParityFp32);
    }
  }

  TEST_CASE("cuda: geglu parity and gradient") {
    for (const auto kind : {kernels::Activation::GeluTanh, kernels::Activation::GeluExact, kernels::Activation::Silu}) {
      for (const auto& [tokens, size] : {std::pair(1, 1), {3, 7}, {33, 515}, {64, 3072}}) {
        const auto of = [&](auto function) { return [=](const Tensors& in) { return Tensors{function(in[0], in[1], kind)}; }; };
        check_on_gpu(of(kernels::geglu), of(kernels::geglu_reference), {normal({tokens, size}, 1), normal({tokens, size}, 2)},
                     kParityFp32);
      }
    }
  }

  TEST_CASE("cuda: multi_head parity and gradient") {
    for (const auto& [heads, size] : {std::pair(1, 1), {10, 64}, {3, 19}, {10, 2048}}) {
      for (const at::Tensor& index : {longs({6}), longs({0, 6, 11}), longs({11, 6, 6, 0})}) {
        const Function op = [i = gpu(index)](const Tensors& in) { return Tensors{kernels::multi_head(in[0], i, in[1])}; };
        const Function reference = [&](const Tensors& in) { return Tensors{kernels::multi_head_reference(in[0], index, in[1])}; };
        check_on_gpu(op, reference, {normal({12, size}, 1), normal({heads, size}, 2)}, kParityMatmulFp32);
      }
    }
  }

  TEST_CASE("cuda: bradley_terry parity and gradient") {
    for (const auto& [pairs, heads] : {std::pair(1, 1), {7, 3}, {129, 10}, {1000, 300}}) {
      const Function op = [](const Tensors& in) { return Tensors{kernels::bradley_terry_loss(in[0], in[1])}; };
      const Function reference = [](const Tensors& in) { return Tensors{kernels::bradley_terry_reference(in[0], in[1]).loss}; };
      check_parity(on_gpu(op), reference, {normal({pairs, heads}, 1, 3.0), normal({pairs, heads}, 2, 3.0)}, kStatisticFp32);
      const at::Tensor chosen = normal({pairs, heads}, 3), rejected = normal({pairs, heads}, 4);
      const auto ours = kernels::bradley_terry(gpu(chosen), gpu(rejected)),
                 truth = kernels::bradley_terry_reference(chosen, rejected);
      CHECK(error_of(ours.loss_per_head.cpu(), truth.loss_per_head) <= kStatisticFp32);
      CHECK(error_of(ours.accuracy_per_head.cpu(), truth.accuracy_per_head) <= kStatisticFp32);
      CHECK(error_of(ours.accuracy_per_head.cpu() + 0.01, truth.accuracy_per_head) > kStatisticFp32);
    }
  }

  TEST_CASE("cuda: ppo_loss parity and gradient") {
    for (const auto& [batch, time] : {std::pair(1, 1), {1, 5000}, {64, 20}, {7, 33}}) {
      const auto g = [&, batch = batch, time = time](uint64_t seed) { return normal({batch, time}, seed, 0.3); };
      const at::Tensor lengths = (range(batch).mul(5).remainder(time) + 1).to(at::kInt);
      const Tensors rest = {g(3), g(4), g(5), g(6)};
      const auto of = [&](const Tensors& r, const at::Tensor& l, at::Tensor* sums) {
        return
            [=](const Tensors& in) { return Tensors{kernels::ppo_loss_node(in[0], in[1], r[0], r[1], r[2], r[3], l, {}, sums)}; };
      };
      at::Tensor sums, cpu_sums;
      const Function op = of({gpu(rest[0]), gpu(rest[1]), gpu(rest[2]), gpu(rest[3])}, gpu(lengths), &sums);
      check_parity(on_gpu(op), of(rest, lengths, &cpu_sums), {g(1), g(2)}, kStatisticFp32);
      static_cast<void>(evaluate(on_gpu(op), {g(1), g(2)}));
      CHECK(error_of(sums.cpu(), cpu_sums) <= kStatisticFp32);
      CHECK(error_of(sums.cpu() * 1.001, cpu_sums) > kStatisticFp32);
    }
  }

  TEST_CASE("cuda: variance_kl_advantage parity") {
    for (const auto& [batch, time] : {std::pair(1, 1), {5, 1}, {64, 20}, {7, 33}, {40, 1000}}) {
      for (const int flags : {0, 1, 2, 3}) {
        const auto g = [&, batch = batch, time = time](uint64_t seed) { return normal({batch, time}, seed); };
        const at::Tensor lengths = (range(batch).mul(5).remainder(time) + 1).to(at::kInt), scores = normal({batch}, 4);
        const at::Tensor weights = normal({batch}, 5).abs();
        const kernels::VarianceKlAdvantageOptions options{
            .gamma = 0.99, .whiten = (flags & 1) != 0, .whiten_rewards = (flags & 2) != 0};
        const auto ours = kernels::variance_kl_advantage(gpu(g(1)), gpu(g(2)), gpu(g(3)), gpu(scores), gpu(weights), gpu(lengths),
                                                         std::nullopt, options);
        const auto truth =
            kernels::variance_kl_advantage_reference(g(1), g(2), g(3), scores, weights, lengths, std::nullopt, options);
        CHECK(error_of(ours.rewards.cpu(), truth.rewards) <= kStatisticFp32);
        CHECK(error_of(ours.kl.cpu(), truth.kl) <= kStatisticFp32);
        CHECK(error_of(ours.advantages.cpu(), truth.advantages) <= kStatisticFp32);
        CHECK(error_of(ours.returns.cpu(), truth.returns) <= kStatisticFp32);
        CHECK(error_of(ours.returns.cpu() + 0.01, truth.returns) > kStatisticFp32);
      }
    }
  }

  TEST_CASE("cuda: token_logprob parity and gradient, entropy and exact KL") {
    for (const auto& [tokens, hidden, vocab] : {std::tuple(1, 4, 3), {7, 20, 37}, {70, 64, 515}, {33, 64, 50257}}) {
      const at::Tensor ids = range(tokens).mul(31).add(vocab - 1).remainder(vocab);
      const Function op = [i = gpu(ids)](const Tensors& in) {
        return Tensors{kernels::token_logprob(in[0], in[1], in[2], i, false, 0.7).logprobs};
      };
      const Function reference = [&](const Tensors& in) {
        return Tensors{kernels::token_logprob_reference(in[0], in[1], in[2], ids, false, 0.7).logprobs};
      };
      const Tensors in = {normal({tokens, hidden}, 1, 0.2), normal({vocab, hidden}, 2), normal({vocab}, 3)};
      if (vocab < 1000) {
        check_on_gpu(op, reference, in, kParityMatmulFp32);
      } else {  // one item of so large a vocabulary does not show in the twin
        CHECK(error_of(evaluate(on_gpu(op), in).outputs[0], evaluate(reference, in).outputs[0]) <= kParityMatmulFp32);
      }
      const auto ours = kernels::token_logprob(gpu(in[0]), gpu(in[1]), std::nullopt, gpu(ids), true);
      CHECK(error_of(ours.entropy.cpu(), kernels::token_logprob_reference(in[0], in[1], std::nullopt, ids, true).entropy) <=
            kParityMatmulFp32);
      const at::Tensor ref_hidden = normal({tokens, 5}, 4), ref_weight = normal({vocab, 5}, 5);
      CHECK(error_of(kernels::token_kl(gpu(in[0]), gpu(in[1]), gpu(ref_hidden), gpu(ref_weight)).cpu(),
                     kernels::token_kl_reference(in[0], in[1], ref_hidden, ref_weight)) <= kParityMatmulFp32);
    }
  }

  TEST_CASE("cuda: packed_attention parity and gradient, flash and memory-efficient") {
    struct Shape {
      std::vector<int32_t> cu;
      int64_t heads, kv_heads, dim;
    };
    const std::vector<Shape> shapes = {{{0, 1, 2}, 2, 1, 8},      {{0, 1, 4, 4, 5}, 2, 2, 6},  {{0, 13, 29, 29, 40}, 4, 2, 32},
                                       {{0, 100, 117}, 4, 1, 20}, {{0, 33, 97}, 8, 1, 256},    {{0, 31, 63, 64}, 3, 3, 208},
                                       {{0, 64, 161}, 6, 2, 64},  {{0, 700, 1024}, 12, 12, 64}};
    for (const Shape& s : shapes) {
      CAPTURE(s.cu.back());
      CAPTURE(s.dim);
      const double scale = 1.0 / std::sqrt(static_cast<double>(s.dim));
      const auto of = [&, cu = ints(s.cu)](auto function) {
        return [=](const Tensors& in) { return Tensors{function(in[0], in[1], in[2], cu, scale)}; };
      };
      const int64_t tokens = s.cu.back();
      const Tensors in = {normal({tokens, s.heads, s.dim}, 1), normal({tokens, s.kv_heads, s.dim}, 2),
                          normal({tokens, s.kv_heads, s.dim}, 3)};
      if (tokens < 200) {
        check_on_gpu(of(kernels::packed_attention), of(kernels::packed_attention_reference), in, kParityMatmulFp32);
      } else {
        const Evaluated ours = evaluate(on_gpu(of(kernels::packed_attention)), in);
        const Evaluated truth = evaluate(of(kernels::packed_attention_reference), in);
        CHECK(error_of(ours.outputs[0], truth.outputs[0]) <= kParityMatmulFp32);
        for (size_t i = 0; i < 3; ++i) CHECK(error_of(ours.gradients[i], truth.gradients[i]) <= 5 * kParityMatmulFp32);
      }
    }
  }

  TEST_CASE("cuda: packed_attention parity and gradient with shared prefixes and chosen queries") {
    // A prefix of 9 tokens that two segments continue, one of them shared in turn; then a row by itself.
    const at::Tensor cu = ints({0, 9, 13, 20, 22, 40}), parents = ints({-1, 0, 0, 2, -1});
    for (const at::Tensor& queries : {at::Tensor(), longs({12, 19, 21, 39}), longs({10, 11, 12, 14, 16, 17, 21, 30, 31, 39})}) {
      const kernels::AttentionLayout layout(cu, parents, queries);
      const int64_t count = queries.defined() ? queries.size(0) : 40;
      const auto of = [&](auto function) {
        return [=](const Tensors& in) { return Tensors{function(in[0], in[1], in[2], layout, 0.2)}; };
      };
      check_on_gpu(of(kernels::packed_attention), of(kernels::packed_attention_reference),
                   {normal({count, 4, 64}, 1), normal({40, 2, 64}, 2), normal({40, 2, 64}, 3)}, kParityMatmulFp32);
    }
  }

  TEST_CASE("cuda: packed_attention parity of the cached step, few rows split over blocks, many not") {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const auto& [rows, heads, kv_heads, dim, capacity] :
           {std::tuple(3, 4, 2, 32, 12), {1, 3, 1, 20, 700}, {2, 8, 1, 256, 300}, {129, 12, 12, 64, 40}, {2, 20, 1, 128, 900}}) {
        CAPTURE(dim);
        const at::Tensor k = normal({rows, capacity, kv_heads, dim}, 1).to(dtype);
        const at::Tensor v = normal({rows, capacity, kv_heads, dim}, 2).to(dtype), q = normal({rows, heads, dim}, 3).to(dtype);
        const at::Tensor lengths = (range(rows).mul(37).remainder(capacity) + 1).to(at::kInt);
        const at::Tensor ours = kernels::cached_attention(gpu(q), gpu(k), gpu(v), gpu(lengths), 0.2).cpu();
        const at::Tensor truth =
            kernels::cached_attention_reference(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), lengths, 0.2);
        const double tolerance = dtype == at::kFloat ? kParityMatmulFp32 : kBf16Floor;
        CHECK(error_of(ours, truth) <= tolerance);
        CHECK(error_of(ours + 0.02, truth) > tolerance);
      }
    }
  }

  TEST_CASE("cuda: adamw parity over ten steps, all dtypes") {
    struct Kind {
      at::ScalarType dtype, gradient;
      bool master;
    };
    for (const Kind kind : {Kind{at::kFloat, at::kFloat, false},
                            {at::kBFloat16, at::kBFloat16, true},
                            {at::kBFloat16, at::kFloat, true},
                            {at::kFloat, at::kBFloat16, false}}) {
      std::vector<kernels::AdamwParameter> ours, theirs;
      uint64_t seed = 10;
      for (const int64_t size : {1, 7, 16, 0, 8191, 8193, 100000}) {
        kernels::AdamwParameter p;
        const at::Tensor value = normal({size}, ++seed);
        p.parameter = value.to(kind.dtype);
        p.gradient = normal({size}, ++seed).to(kind.gradient);
        p.moment1 = normal({size}, ++seed, 0.1);
        p.moment2 = normal({size}, ++seed, 0.1).square();
        if (kind.master) p.master = value.clone();
        p.weight_decay = 0.1;
        theirs.push_back(p);
        kernels::AdamwParameter moved = p;
        for (at::Tensor kernels::AdamwParameter::*field :
             {&kernels::AdamwParameter::parameter, &kernels::AdamwParameter::gradient, &kernels::AdamwParameter::moment1,
              &kernels::AdamwParameter::moment2}) {
          moved.*field = gpu(p.*field);
        }
        if (kind.master) moved.master = gpu(p.master);
        ours.push_back(moved);
      }
      kernels::AdamwOptions options{.lr = 0.01, .gradient_scale = 0.7};
      for (options.step = 1; options.step <= 10; ++options.step) {
        kernels::adamw(ours, options);
        kernels::adamw_reference(theirs, options);
      }
      const double tolerance = kind.dtype == at::kFloat ? kParityFp32 : kBf16Floor;
      for (size_t i = 0; i < ours.size(); ++i) {
        CHECK(error_of(ours[i].parameter.cpu(), theirs[i].parameter) <= tolerance);
        CHECK(error_of(ours[i].moment2.cpu(), theirs[i].moment2) <= kParityFp32);
        if (ours[i].parameter.numel() > 0) CHECK(error_of(ours[i].parameter.cpu() + 0.1, theirs[i].parameter) > tolerance);
      }
    }
  }

  TEST_CASE("cuda: sample parity with the CPU, draw by draw") {
    const kernels::SampleOptions kinds[] = {{.greedy = true},
                                            {.seed = 7},
                                            {.temperature = 0.5, .seed = 8},
                                            {.temperature = 1.3, .top_k = 5, .seed = 10},
                                            {.top_p = 0.6, .seed = 11},
                                            {.temperature = 0.8, .top_k = 20, .top_p = 0.9, .seed = 12}};
    for (const auto& [rows, vocab] : {std::pair(3, 7), {200, 37}, {20, 3001}, {8, 50257}}) {
      for (const kernels::SampleOptions& options : kinds) {
        CAPTURE(vocab);
        CAPTURE(options.seed);
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          const at::Tensor logits = normal({rows, vocab}, 1, 3.0).to(dtype), keys = range(rows), positions = range(rows) + 40;
          at::Tensor logprobs, true_logprobs;
          const at::Tensor truth = kernels::sample(logits, keys, positions, options, &true_logprobs);
          CHECK(kernels::sample(gpu(logits), gpu(keys), gpu(positions), options, &logprobs).cpu().equal(truth));
          CHECK(error_of(logprobs.cpu(), true_logprobs) <= kStatisticFp32);
          CHECK(!kernels::sample(gpu(logits.flip({1})), gpu(keys), gpu(positions), options).cpu().equal(truth));
        }
      }
    }
  }

  TEST_CASE("cuda: twice the same bits, in deterministic mode also through libtorch's attention") {
    const bool before = deterministic();
    set_deterministic(true);
    const at::Tensor cu = ints({0, 300, 1000});
    const Function attention =
        on_gpu([&](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], cu, 0.1)}; });
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const Tensors in = {normal({1000, 8, 64}, 1).to(dtype), normal({1000, 2, 64}, 2).to(dtype),
                          normal({1000, 2, 64}, 3).to(dtype)};
      const Evaluated one = evaluate(attention, in), two = evaluate(attention, in);
      CHECK(one.outputs[0].equal(two.outputs[0]));
      for (size_t i = 0; i < 3; ++i) CHECK(one.gradients[i].equal(two.gradients[i]));
    }
    const Function norm = on_gpu([](const Tensors& in) { return Tensors{kernels::rms_norm(in[0], in[1], 1e-6, true)}; });
    const Tensors in = {normal({3000, 768}, 1), normal({768}, 2)};
    CHECK(evaluate(norm, in).gradients[1].equal(evaluate(norm, in).gradients[1]));
    set_deterministic(before);
  }
}

}  // namespace prudent::tests
