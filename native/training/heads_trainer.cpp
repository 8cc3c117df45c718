#include "training/heads_trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "core/error.h"
#include "kernels/bradley_terry/bradley_terry.h"
#include "training/step_scope.h"

namespace prudent::training {
namespace {

// The heads are one matrix; its rows are clipped here, one by one, so the optimiser must not clip again.
OptimizerOptions unclipped(OptimizerOptions options) {
  options.max_grad_norm = 0;
  return options;
}

at::Tensor checked_heads(const FeatureCache& features, const at::Tensor& initial) {
  PRUDENT_CHECK(initial.dim() == 2 && initial.size(0) >= 1 && initial.size(1) == features.hidden(), "E_SHAPE", "initial",
                "[heads, " + std::to_string(features.hidden()) + "]",
                initial.dim() == 2 ? "[" + std::to_string(initial.size(0)) + ", " + std::to_string(initial.size(1)) + "]"
                                   : std::to_string(initial.dim()) + " dimensions");
  PRUDENT_CHECK(initial.isfinite().all().item<bool>(), "E_NON_FINITE", "initial", "finite heads", "a NaN or an infinity");
  return initial.to(at::kCPU, at::kFloat).contiguous();
}

void check_index(const std::vector<int32_t>& index, int64_t rows, const char* argument) {
  for (size_t i = 0; i < index.size(); ++i) {
    PRUDENT_CHECK(index[i] >= 0 && index[i] < rows, "E_RANGE", std::string(argument) + "[" + std::to_string(i) + "]",
                  "a row in [0, " + std::to_string(rows) + ")", std::to_string(index[i]));
  }
}

std::vector<float> to_vector(const at::Tensor& values) {
  const at::Tensor flat = values.contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

}  // namespace

HeadsTrainer::HeadsTrainer(std::shared_ptr<const FeatureCache> features, const at::Tensor& initial,
                           const HeadsTrainerOptions& options)
    : features_(std::move(features)),
      options_(options),
      weight_(checked_heads(*features_, initial).clone()),
      initial_(weight_.clone()),
      optimizer_({{"score.weight", weight_}}, unclipped(options.optimizer)) {
  const double clip = options.optimizer.max_grad_norm;
  PRUDENT_CHECK(std::isfinite(clip) && clip >= 0, "E_RANGE", "maxGradNorm", "a number >= 0", std::to_string(clip));
  PRUDENT_CHECK(std::isfinite(options.anchor) && options.anchor >= 0, "E_RANGE", "anchor", "a number >= 0",
                std::to_string(options.anchor));
}

HeadsStep HeadsTrainer::step(const std::vector<int32_t>& chosen, const std::vector<int32_t>& rejected, bool per_head, double lr,
                             const Job& job) {
  const auto count = static_cast<int64_t>(chosen.size());
  PRUDENT_CHECK(count >= 1 && (!per_head || count % heads() == 0), "E_SHAPE", "chosen",
                per_head ? "[" + std::to_string(heads()) + ", batch] rows" : "at least one row", std::to_string(count));
  PRUDENT_CHECK(rejected.size() == chosen.size(), "E_SHAPE", "rejected", std::to_string(count) + " rows, one for each chosen row",
                std::to_string(rejected.size()));
  check_index(chosen, features_->rows(), "chosen");
  check_index(rejected, features_->rows(), "rejected");
  job.poll();

  const StepScope scope(optimizer_);
  const c10::NoGradGuard no_grad;  // the gradient of a linear head is written out below
  const auto gather = [&](const std::vector<int32_t>& index) {
    const at::Tensor rows = at::from_blob(const_cast<int32_t*>(index.data()), {count}, at::kInt);
    return at::index_select(features_->features(), 0, rows);
  };
  // A head's margin is its product with the difference of the features: half the work of scoring both sides.
  at::Tensor difference = gather(chosen).sub_(gather(rejected));  // [batch, hidden] | [heads * batch, hidden]
  at::Tensor margins;                                             // [batch, heads]
  if (per_head) {
    difference = difference.view({heads(), count / heads(), features_->hidden()});
    margins = at::bmm(difference, weight_.unsqueeze(2)).squeeze(2).t().contiguous();
  } else {
    margins = at::mm(difference, weight_.t());
  }
  const kernels::BradleyTerry loss = kernels::bradley_terry(margins, at::zeros_like(margins));
  const at::Tensor slope = loss.grad_chosen.t().contiguous();  // [heads, batch]
  at::Tensor gradient =
      per_head ? at::bmm(slope.unsqueeze(1), difference).squeeze(1) : at::mm(slope, difference);  // [heads, hidden]
  if (options_.anchor > 0) gradient.add_(weight_ - initial_, options_.anchor);

  HeadsStep result;
  result.loss_per_head = to_vector(loss.loss_per_head);
  result.accuracy_per_head = to_vector(loss.accuracy_per_head);
  const at::Tensor norms = at::linalg_vector_norm(gradient, 2, at::IntArrayRef{1}, /*keepdim=*/true);
  result.grad_norm_per_head = to_vector(norms);
  const double clip = options_.optimizer.max_grad_norm;
  // An infinite norm must reach the optimiser's check, which a coefficient of 0 would hide behind NaN or 0.
  if (clip > 0 && norms.isfinite().all().item<bool>()) gradient.mul_((clip / (norms + 1e-6)).clamp_max(1.0));
  weight_.mutable_grad() = gradient;
  optimizer_.step(lr);
  double sum = 0;
  for (const float norm : result.grad_norm_per_head) sum += static_cast<double>(norm) * norm;
  result.grad_norm = std::sqrt(sum);
  return result;
}

int64_t HeadsTrainer::heads() const { return weight_.size(0); }

at::Tensor HeadsTrainer::weights() const { return weight_.clone(); }

void HeadsTrainer::save_state(const std::string& file) const {
  optimizer_.save(file, {{"score.weight", weight_}, {"score.initial", initial_}});
}

void HeadsTrainer::load_state(const std::string& file) {
  optimizer_.load(file, {{"score.weight", weight_}, {"score.initial", initial_}});
}

}  // namespace prudent::training
