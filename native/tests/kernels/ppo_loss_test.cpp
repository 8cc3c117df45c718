#include "kernels/ppo_loss/ppo_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::PpoLoss;
using kernels::PpoLossOptions;
using kernels::PpoLossStats;

struct Case {
  at::Tensor logprobs, values, old_logprobs, old_values, advantages, returns, lengths;
};

Case make_case(int64_t batch, int64_t time) {
  Case c;
  c.old_logprobs = normal({batch, time}, 1);
  c.logprobs = c.old_logprobs + normal({batch, time}, 2, 0.3);
  c.old_values = normal({batch, time}, 3);
  c.values = c.old_values + normal({batch, time}, 4, 0.3);
  c.advantages = normal({batch, time}, 5);
  c.returns = normal({batch, time}, 6);
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < batch; ++i) lengths.push_back(static_cast<int32_t>(1 + (i * 5) % time));
  lengths[0] = static_cast<int32_t>(time);
  c.lengths = at::tensor(lengths, at::TensorOptions().dtype(at::kInt));
  return c;
}

PpoLoss run(const Case& c, const PpoLossOptions& options = {}) {
  return kernels::ppo_loss(c.logprobs, c.values, c.old_logprobs, c.old_values, c.advantages, c.returns, c.lengths, options);
}
PpoLoss reference(const Case& c, const PpoLossOptions& options = {}) {
  return kernels::ppo_loss_reference(c.logprobs, c.values, c.old_logprobs, c.old_values, c.advantages, c.returns, c.lengths,
                                     options);
}

std::vector<double> numbers(const PpoLossStats& s) {
  return {s.policy_loss,        s.value_loss,          s.loss,        s.approx_kl,       s.policy_kl,
          s.clip_fraction,      s.value_clip_fraction, s.ratio_mean,  s.advantages_mean, s.returns_mean,
          s.returns_var,        s.value_mean,          s.value_error, s.value_mean_old,  s.value_var_old,
          s.skipped ? 1.0 : 0.0};
}

double worst(const PpoLoss& a, const PpoLoss& b, double tokens) {
  double error = std::max({error_of(a.loss, b.loss), error_of(a.policy_loss, b.policy_loss), error_of(a.value_loss, b.value_loss),
                           error_of(a.grad_logprobs * tokens, b.grad_logprobs * tokens),
                           error_of(a.grad_values * tokens, b.grad_values * tokens)});
  const auto x = numbers(a.stats), y = numbers(b.stats);
  for (size_t i = 0; i < x.size(); ++i) error = std::max(error, std::abs(x[i] - y[i]) / std::max(1.0, std::abs(y[i])));
  return error;
}

// One token at a chosen place.
Case single(double log_ratio, double value_step, double advantage, double value_error) {
  const auto one = [](double x) { return at::full({1, 1}, x, at::TensorOptions().dtype(at::kFloat)); };
  return {one(log_ratio),
          one(value_step),
          one(0.0),
          one(0.0),
          one(advantage),
          one(value_step - value_error),
          at::tensor(std::vector<int32_t>{1}, at::TensorOptions().dtype(at::kInt))};
}

}  // namespace

TEST_CASE("ppo_loss: parity over odd shapes") {
  for (const auto& [batch, time] : {std::pair(1, 1), {1, 9}, {5, 1}, {64, 20}, {7, 33}, {40, 300}}) {
    CAPTURE(batch);
    CAPTURE(time);
    const Case c = make_case(batch, time);
    const double tokens = c.lengths.sum().item<double>();
    const PpoLoss truth = reference(c);
    CHECK(worst(run(c), truth, tokens) <= kStatisticFp32);
    for (at::Tensor Case::*field :
         {&Case::logprobs, &Case::values, &Case::old_logprobs, &Case::old_values, &Case::advantages, &Case::returns}) {
      Case moved = c;
      moved.*field = (c.*field) * 1.25 + 0.01;
      CHECK(worst(run(moved), truth, tokens) > kStatisticFp32);
    }
  }
}

TEST_CASE("ppo_loss: gradient of the loss node, and of the reference against differences") {
  const Case c = make_case(4, 6);
  const auto with = [&](const Tensors& in) {
    Case moved = c;
    moved.logprobs = in[0];
    moved.values = in[1];
    for (at::Tensor Case::*field : {&Case::old_logprobs, &Case::old_values, &Case::advantages, &Case::returns}) {
      moved.*field = (c.*field).to(in[0].scalar_type());
    }
    return moved;
  };
  const Function node = [&](const Tensors& in) {
    const Case m = with(in);
    return Tensors{kernels::ppo_loss_node(m.logprobs, m.values, m.old_logprobs, m.old_values, m.advantages, m.returns, m.lengths,
                                          {}, nullptr)};
  };
  const Function truth = [&](const Tensors& in) { return Tensors{reference(with(in)).loss}; };
  const Evaluated ours = evaluate(node, {c.logprobs, c.values}), theirs = evaluate(truth, {c.logprobs, c.values});
  const double tokens = c.lengths.sum().item<double>();
  for (size_t i = 0; i < 2; ++i) {
    CHECK(error_of(ours.gradients[i] * tokens, theirs.gradients[i] * tokens) <= kParityMatmulFp32);
    CHECK(error_of(ours.gradients[i] * tokens * 1.01, theirs.gradients[i] * tokens) > kParityMatmulFp32);
  }
  check_differences(truth, {c.logprobs, c.values});
}

TEST_CASE("ppo_loss: on, inside and outside the clip edges") {
  for (const double advantage : {1.0, -1.0, 0.0}) {
    for (const double ratio : {0.5, 0.8, 0.9, 1.0, 1.2, 1.5}) {
      for (const double step : {-0.5, -0.25, 0.0, 0.1, 0.25, 0.5}) {
        for (const double error : {-1.0, 0.125, 1.0}) {
          CAPTURE(advantage);
          CAPTURE(ratio);
          CAPTURE(step);
          CAPTURE(error);
          // 0.25 is exact in binary: the value sits on its edge.
          const PpoLossOptions options{.clip_range_value = 0.25};
          const Case c = single(std::log(ratio), step, advantage, error);
          CHECK(worst(run(c, options), reference(c, options), 1.0) <= kParityFp32);
        }
      }
    }
  }
  // Exactly on the edge of the ratio: exp(0) with a clip range of 0.
  const PpoLossOptions edge{.clip_range = 0.0, .clip_range_value = 0.0};
  CHECK(run(single(0.0, 0.0, 2.0, 1.0), edge).grad_logprobs.item<double>() == -2.0);
  CHECK(worst(run(single(0.0, 0.0, 2.0, 1.0), edge), reference(single(0.0, 0.0, 2.0, 1.0), edge), 1.0) <= kParityFp32);
  // A tie of the clipped and the unclipped value loss outside the range shares the gradient.
  const PpoLossOptions tie{.clip_range_value = 0.5};
  const Case tied = single(0.0, 1.0, 0.0, 0.25);
  CHECK(worst(run(tied, tie), reference(tied, tie), 1.0) <= kParityFp32);
}

TEST_CASE("ppo_loss: masked tokens are never read and get no gradient") {
  const Case c = make_case(6, 12);
  Case dirty = c;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (at::Tensor Case::*field :
       {&Case::logprobs, &Case::values, &Case::old_logprobs, &Case::old_values, &Case::advantages, &Case::returns}) {
    dirty.*field = (c.*field).clone();
    for (int64_t i = 0; i < 6; ++i) {
      const int64_t length = c.lengths.select(0, i).item<int64_t>();
      if (length < 12) (dirty.*field).select(0, i).narrow(0, length, 12 - length).fill_(nan);
    }
  }
  const PpoLoss clean = run(c), ours = run(dirty);
  CHECK(ours.grad_logprobs.equal(clean.grad_logprobs));
  CHECK(ours.grad_values.equal(clean.grad_values));
  CHECK(numbers(ours.stats) == numbers(clean.stats));
  CHECK(ours.grad_values.select(0, 1).narrow(0, 6, 6).abs().max().item<double>() == 0.0);
}

TEST_CASE("ppo_loss: above the ratio threshold nothing is learned") {
  Case c = make_case(4, 6);
  c.logprobs = c.old_logprobs + std::log(10.5);
  const PpoLoss out = run(c);
  CHECK(out.stats.skipped);
  CHECK(out.loss.item<double>() == 0.0);
  CHECK(out.grad_logprobs.abs().max().item<double>() == 0.0);
  CHECK(out.grad_values.abs().max().item<double>() == 0.0);
  CHECK(worst(out, reference(c), 1.0) <= kStatisticFp32);
  c.logprobs = c.old_logprobs + std::log(9.5);
  CHECK(!run(c).stats.skipped);
  CHECK(run(c).grad_values.abs().max().item<double>() > 0.0);
}

TEST_CASE("ppo_loss: constant returns have no variance") {
  Case c = make_case(4, 6);
  c.returns = c.returns * 0.0 + 0.1;
  CHECK(run(c).stats.returns_var <= 1e-12);
  CHECK(run(make_case(1, 1)).stats.returns_var == 0.0);
}

TEST_CASE("ppo_loss: wrong arguments are named") {
  Case c = make_case(2, 3);
  c.returns = normal({2, 4}, 1);
  CHECK_THROWS_WITH_AS(run(c), "returns: expected shape [2, 3], received Float [2, 4] on cpu", Error);
  c = make_case(2, 3);
  c.lengths = c.lengths * 0;
  CHECK_THROWS_AS(run(c), Error);
}

}  // namespace prudent::tests
