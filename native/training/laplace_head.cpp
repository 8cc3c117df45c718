#include "training/laplace_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace prudent::training {
namespace {

constexpr int64_t kChunk = 4096;  // pairs whose differences exist at a time
constexpr double kLeastPrecision = 1e-10, kMostPrecision = 1e12;

const at::TensorOptions kDouble = at::TensorOptions().dtype(at::kDouble);

double item(const at::Tensor& value) { return value.item<double>(); }

class Problem {
 public:
  Problem(const FeatureCache& features, const std::vector<int32_t>& chosen, const std::vector<int32_t>& rejected)
      : features_(features), chosen_(chosen), rejected_(rejected) {}

  [[nodiscard]] int64_t hidden() const { return features_.hidden(); }

  // - sum_i ln sigmoid(d_i w)
  [[nodiscard]] double loss(const at::Tensor& w, const Job& job) const {
    double sum = 0;
    for_chunks(job, [&](const at::Tensor& d) { sum += item(at::softplus(at::mv(d, w).neg(), 1, 1e9).sum()); });
    return sum;
  }

  struct Curvature {
    at::Tensor gradient;  // of the loss, [hidden]
    at::Tensor hessian;   // of the loss, [hidden, hidden]
  };
  [[nodiscard]] Curvature curvature(const at::Tensor& w, const Job& job) const {
    Curvature result{at::zeros({hidden()}, kDouble), at::zeros({hidden(), hidden()}, kDouble)};
    for_chunks(job, [&](const at::Tensor& d) {
      const at::Tensor wrong = at::mv(d, w).neg().sigmoid();  // 1 - p
      result.gradient.sub_(at::mv(d.t(), wrong));
      const at::Tensor scaled = d * (wrong * (1 - wrong)).sqrt().unsqueeze(1);
      result.hessian.addmm_(scaled.t(), scaled);
    });
    return result;
  }

 private:
  template <typename Visit>
  void for_chunks(const Job& job, const Visit& visit) const {
    const auto count = static_cast<int64_t>(chosen_.size());
    for (int64_t first = 0; first < count; first += kChunk) {
      job.poll();
      const int64_t size = std::min(kChunk, count - first);
      const auto rows = [&](const std::vector<int32_t>& index) {
        const at::Tensor numbers = at::from_blob(const_cast<int32_t*>(index.data()) + first, {size}, at::kInt);
        return at::index_select(features_.features(), 0, numbers).to(at::kDouble);
      };
      visit(rows(chosen_) - rows(rejected_));
    }
  }

  const FeatureCache& features_;
  const std::vector<int32_t>& chosen_;
  const std::vector<int32_t>& rejected_;
};

at::Tensor lower_factor(const at::Tensor& matrix) {
  auto [lower, info] = at::linalg_cholesky_ex(matrix);
  PRUDENT_CHECK(info.item<int32_t>() == 0, "E_NON_FINITE", "features", "a positive definite Hessian",
                "a pivot that is not above 0 (raise the prior's precision)");
  return lower;
}

at::Tensor solve_with(const at::Tensor& lower, const at::Tensor& b) {
  const at::Tensor half = at::linalg_solve_triangular(lower, b.unsqueeze(1), /*upper=*/false);
  return at::linalg_solve_triangular(lower.t(), half, /*upper=*/true).squeeze(1);
}

struct Mode {
  at::Tensor w;
  at::Tensor lower;  // of H at w
  double penalised = 0;
  int64_t steps = 0;
};

// Newton's method with step halving from `start`: the problem is strictly convex.
Mode find_mode(const Problem& problem, const at::Tensor& start, double precision, int64_t max_steps, const Job& job) {
  const auto penalised = [&](const at::Tensor& w) { return problem.loss(w, job) + precision / 2 * item(at::dot(w, w)); };
  Mode mode{.w = start, .lower = {}, .penalised = penalised(start)};
  PRUDENT_CHECK(std::isfinite(mode.penalised), "E_NON_FINITE", "features", "finite features", "a NaN or an infinity");
  for (;;) {
    auto [gradient, hessian] = problem.curvature(mode.w, job);
    hessian.diagonal().add_(precision);
    mode.lower = lower_factor(hessian);
    if (mode.steps == max_steps) return mode;
    const at::Tensor move = solve_with(mode.lower, gradient + mode.w * precision);
    double size = 1;
    at::Tensor next = mode.w - move;
    double loss = penalised(next);
    while (!(loss <= mode.penalised) && size > 1e-6) {
      size /= 2;
      next = mode.w - move * size;
      loss = penalised(next);
    }
    // A rise that no halving cures is rounding: the minimum is reached.
    if (!(loss <= mode.penalised)) return mode;
    const bool settled = item(move.norm()) <= 1e-9 * (1 + item(mode.w.norm()));
    ++mode.steps;
    mode.w = next;
    mode.penalised = loss;
    if (settled) return mode;  // the Hessian has settled with it
  }
}

}  // namespace

LaplaceHead fit_laplace_head(const FeatureCache& features, const std::vector<int32_t>& chosen,
                             const std::vector<int32_t>& rejected, const LaplaceOptions& options, const Job& job) {
  const c10::NoGradGuard no_grad;
  PRUDENT_CHECK(!chosen.empty(), "E_SHAPE", "chosen", "at least one pair", "none");
  PRUDENT_CHECK(chosen.size() == rejected.size(), "E_SHAPE", "rejected", std::to_string(chosen.size()) + " rows",
                std::to_string(rejected.size()));
  for (const auto* index : {&chosen, &rejected}) {
    const auto wrong = std::find_if(index->begin(), index->end(), [&](int32_t row) { return row < 0 || row >= features.rows(); });
    PRUDENT_CHECK(wrong == index->end(), "E_RANGE", index == &chosen ? "chosen" : "rejected",
                  "rows in [0, " + std::to_string(features.rows()) + ")", std::to_string(*wrong));
  }
  PRUDENT_CHECK(options.prior_precision >= kLeastPrecision && options.prior_precision <= kMostPrecision, "E_RANGE",
                "priorPrecision", "a number in [1e-10, 1e12]", std::to_string(options.prior_precision));
  const Problem problem(features, chosen, rejected);
  const int64_t hidden = problem.hidden();
  LaplaceHead head;
  head.prior_precision = options.prior_precision;
  at::Tensor start = at::zeros({hidden}, kDouble);
  for (int round = 0;; ++round) {
    const Mode mode = find_mode(problem, start, head.prior_precision, options.max_steps, job);
    head.newton_steps += mode.steps;
    head.mode = start = mode.w;
    head.factor = at::linalg_solve_triangular(mode.lower, at::eye(hidden, kDouble), /*upper=*/false);
    head.effective_parameters = static_cast<double>(hidden) - head.prior_precision * item(head.factor.square().sum());
    head.log_evidence = -mode.penalised + 0.5 * static_cast<double>(hidden) * std::log(head.prior_precision) -
                        item(mode.lower.diagonal().log().sum());
    const double norm = item(at::dot(mode.w, mode.w));
    const double next = std::clamp(head.effective_parameters / norm, kLeastPrecision, kMostPrecision);
    if (!options.by_evidence || round == 100 || !std::isfinite(next)) break;
    if (std::abs(std::log(next / head.prior_precision)) < 1e-3) break;
    head.prior_precision = next;
  }
  return head;
}

}  // namespace prudent::training
