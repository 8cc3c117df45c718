// Results may not depend on the number of threads: the same run resumes bit for bit, and lanes share machines.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include "kernels/activation_backward/activation_backward.h"
#include "kernels/bradley_terry/bradley_terry.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/multi_head/multi_head.h"
#include "kernels/op_check.h"
#include "kernels/packed_attention/packed_attention.h"
#include "kernels/ppo_loss/ppo_loss.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

namespace prudent::tests {

namespace {

Tensors flat(const Evaluated& e) {
  Tensors all = e.outputs;
  all.insert(all.end(), e.gradients.begin(), e.gradients.end());
  return all;
}

// Everything that adds up over tokens or rows, in sizes that are cut into several ranges.
Tensors run_all() {
  Tensors out;
  const auto add = [&](const Tensors& more) { out.insert(out.end(), more.begin(), more.end()); };
  add(flat(evaluate([](const Tensors& in) { return Tensors{kernels::rms_norm(in[0], in[1], 1e-6, true)}; },
                    {normal({3000, 64}, 1), normal({64}, 2)})));
  add(flat(evaluate([](const Tensors& in) { return Tensors{kernels::layer_norm(in[0], in[1], in[2], 1e-5)}; },
                    {normal({3000, 64}, 1), normal({64}, 2), normal({64}, 3)})));
  const auto epilogue =
      kernels::activation_backward(normal({3000, 64}, 1), normal({3000, 64}, 2), kernels::Activation::Silu, true);
  add({epilogue.grad_u, epilogue.grad_bias});
  const at::Tensor index = at::arange(2000, at::TensorOptions().dtype(at::kLong)).remainder(700);
  add(flat(evaluate([&](const Tensors& in) { return Tensors{kernels::multi_head(in[0], index, in[1])}; },
                    {normal({1000, 1000}, 3), normal({5, 1000}, 4)})));
  std::vector<int32_t> cu = {0};
  for (int32_t r = 0; r < 40; ++r) cu.push_back(cu.back() + 20 + 2 * r);
  const at::Tensor bounds = at::tensor(cu, at::TensorOptions().dtype(at::kInt));
  add(flat(evaluate([&](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], bounds, 0.2)}; },
                    {normal({cu.back(), 4, 32}, 5), normal({cu.back(), 2, 32}, 6), normal({cu.back(), 2, 32}, 7)})));
  // One long tree beside short rows: cut within a segment, and by query head in the backward.
  const kernels::AttentionLayout tree(at::tensor({0, 300, 340, 420, 430}, at::TensorOptions().dtype(at::kInt)),
                                      at::tensor({-1, 0, 0, -1}, at::TensorOptions().dtype(at::kInt)));
  add(flat(evaluate([&](const Tensors& in) { return Tensors{kernels::packed_attention(in[0], in[1], in[2], tree, 0.2)}; },
                    {normal({430, 4, 64}, 5), normal({430, 1, 64}, 6), normal({430, 1, 64}, 7)})));
  const auto pairs = kernels::bradley_terry(normal({5000, 10}, 8), normal({5000, 10}, 9));
  add({pairs.loss, pairs.loss_per_head, pairs.grad_chosen});
  const auto g = [](uint64_t seed) { return normal({500, 60}, seed); };
  const at::Tensor lengths = at::arange(500, at::TensorOptions().dtype(at::kInt)).remainder(60) + 1;
  const auto ppo = kernels::ppo_loss(g(1), g(2), g(3), g(4), g(5), g(6), lengths, {.ratio_threshold = 1e9});
  add({ppo.loss, ppo.grad_logprobs, ppo.grad_values});
  const auto advantage = kernels::variance_kl_advantage(g(1), g(2), g(3), normal({500}, 4), normal({500}, 5), lengths,
                                                        std::nullopt, {.whiten_rewards = true});
  add({advantage.rewards, advantage.advantages, advantage.returns});
  return out;
}

}  // namespace

TEST_CASE("kernels: bit for bit the same with one thread and with several") {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensors one = run_all();
  at::set_num_threads(3);
  const Tensors three = run_all();
  at::set_num_threads(before);
  REQUIRE(one.size() == three.size());
  for (size_t i = 0; i < one.size(); ++i) {
    CAPTURE(i);
    CHECK(one[i].equal(three[i]));
    CHECK(!one[i].equal(three[i] + 1e-3));
  }
}

}  // namespace prudent::tests
