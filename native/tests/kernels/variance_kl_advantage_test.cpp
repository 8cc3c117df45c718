#include "kernels/variance_kl_advantage/variance_kl_advantage.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <doctest/doctest.h>

#include <limits>

#include "core/error.h"
#include "kernels/op_check.h"
#include "support/tolerances.h"

namespace prudent::tests {

namespace {

using kernels::KlEstimator;
using kernels::VarianceKlAdvantage;
using kernels::VarianceKlAdvantageOptions;

struct Case {
  at::Tensor logprobs, ref_logprobs, values, scores, kl_weights, lengths, kl_per_token;
};

Case make_case(int64_t batch, int64_t time) {
  Case c{normal({batch, time}, 1),      normal({batch, time}, 2),
         normal({batch, time}, 3),      normal({batch}, 4),
         normal({batch}, 5).abs(),      {},
         normal({batch, time}, 6).abs()};
  std::vector<int32_t> lengths;
  for (int64_t i = 0; i < batch; ++i) lengths.push_back(static_cast<int32_t>(1 + (i * 5) % time));
  lengths[0] = static_cast<int32_t>(time);
  c.lengths = at::tensor(lengths, at::TensorOptions().dtype(at::kInt));
  return c;
}

VarianceKlAdvantage run(const Case& c, const VarianceKlAdvantageOptions& options) {
  return kernels::variance_kl_advantage(c.logprobs, c.ref_logprobs, c.values, c.scores, c.kl_weights, c.lengths, c.kl_per_token,
                                        options);
}
VarianceKlAdvantage reference(const Case& c, const VarianceKlAdvantageOptions& options) {
  return kernels::variance_kl_advantage_reference(c.logprobs, c.ref_logprobs, c.values, c.scores, c.kl_weights, c.lengths,
                                                  c.kl_per_token, options);
}

double worst(const VarianceKlAdvantage& a, const VarianceKlAdvantage& b) {
  return std::max({error_of(a.rewards, b.rewards), error_of(a.advantages, b.advantages), error_of(a.returns, b.returns),
                   error_of(a.kl, b.kl)});
}

}  // namespace

TEST_CASE("variance_kl_advantage: parity over odd shapes and all options") {
  for (const auto& [batch, time] : {std::pair(1, 1), {1, 9}, {5, 1}, {64, 20}, {7, 33}, {40, 300}}) {
    const Case c = make_case(batch, time);
    for (const auto estimator : {KlEstimator::Kl, KlEstimator::Abs, KlEstimator::Mse, KlEstimator::Full, KlEstimator::K3}) {
      for (const int flags : {0, 1, 2, 3}) {
        CAPTURE(batch);
        CAPTURE(time);
        CAPTURE(flags);
        CAPTURE(static_cast<int>(estimator));
        const VarianceKlAdvantageOptions options{.gamma = 0.97,
                                                 .lambda = 0.9,
                                                 .whiten = (flags & 1) != 0,
                                                 .whiten_rewards = (flags & 2) != 0,
                                                 .kl_estimator = estimator};
        const VarianceKlAdvantage truth = reference(c, options);
        CHECK(worst(run(c, options), truth) <= kStatisticFp32);
        Case moved = c;
        moved.scores = c.scores + normal({batch}, 7);
        // One whitened token is 0 and one whitened reward keeps its value: the score still shows in the rewards.
        CHECK(worst(run(moved, options), truth) > kStatisticFp32);
        moved = c;
        moved.kl_weights = c.kl_weights * 1.5;
        CHECK(worst(run(moved, options), truth) > kStatisticFp32);
      }
    }
  }
}

TEST_CASE("variance_kl_advantage: what stands behind the end of a row is never read") {
  const Case c = make_case(6, 12);
  Case dirty = c;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (at::Tensor* t : {&dirty.logprobs, &dirty.ref_logprobs, &dirty.values, &dirty.kl_per_token}) {
    *t = t->clone();
    for (int64_t i = 0; i < 6; ++i) {
      const int64_t length = c.lengths.select(0, i).item<int64_t>();
      if (length < 12) t->select(0, i).narrow(0, length, 12 - length).fill_(nan);
    }
  }
  for (const auto estimator : {KlEstimator::Kl, KlEstimator::Full}) {
    const VarianceKlAdvantageOptions options{.whiten_rewards = true, .kl_estimator = estimator};
    const auto clean = run(c, options), ours = run(dirty, options);
    CHECK(ours.advantages.equal(clean.advantages));
    CHECK(ours.rewards.equal(clean.rewards));
    CHECK(ours.returns.equal(clean.returns));
    CHECK(ours.kl.equal(clean.kl));
    CHECK(ours.kl.select(0, 1).narrow(0, 6, 6).abs().max().item<double>() == 0.0);
  }
}

TEST_CASE("variance_kl_advantage: zero variance whitens to zero, not to NaN") {
  Case c = make_case(3, 1);
  for (at::Tensor* t : {&c.logprobs, &c.ref_logprobs, &c.values, &c.scores}) *t = *t * 0.0 + 0.25;
  const auto out = run(c, {});
  CHECK(out.advantages.abs().max().item<double>() <= 1e-6);
  CHECK(run(make_case(1, 1), {}).advantages.item<double>() == 0.0);
}

TEST_CASE("variance_kl_advantage: a row's KL weight touches its own rewards only") {
  const Case c = make_case(4, 6);
  Case moved = c;
  moved.kl_weights = c.kl_weights.clone();
  moved.kl_weights.select(0, 2).add_(1.0);
  const VarianceKlAdvantageOptions options{.whiten = false};
  const auto before = run(c, options), after = run(moved, options);
  for (int64_t i = 0; i < 4; ++i) CHECK(before.rewards.select(0, i).equal(after.rewards.select(0, i)) == (i != 2));
}

TEST_CASE("variance_kl_advantage: wrong arguments are named") {
  Case c = make_case(2, 3);
  c.lengths = at::tensor(std::vector<int32_t>{3, 4}, at::TensorOptions().dtype(at::kInt));
  CHECK_THROWS_WITH_AS(run(c, {}), "response_lengths[1]: expected a number from 1 to 3, received 4", Error);
  c = make_case(2, 3);
  CHECK_THROWS_AS(kernels::variance_kl_advantage(c.logprobs, c.ref_logprobs, c.values, c.scores, c.kl_weights, c.lengths,
                                                 std::nullopt, {.kl_estimator = KlEstimator::Full}),
                  Error);
}

}  // namespace prudent::tests
