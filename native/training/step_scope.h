// What every training step stands in: gradients on, none left over before, none left behind by a step that fails.
#pragma once

#include <ATen/core/grad_mode.h>

#include <cmath>
#include <string>

#include "core/error.h"
#include "training/optimizer.h"

namespace prudent::training {

class StepScope {
 public:
  explicit StepScope(Optimizer& optimizer) : optimizer_(optimizer), grad_mode_(true) { optimizer_.drop_gradients(); }
  StepScope(Optimizer& optimizer, const models::Model& model) : StepScope(optimizer) {
    optimizer_.check_parameters(model.parameters());
  }
  ~StepScope() { optimizer_.drop_gradients(); }
  StepScope(const StepScope&) = delete;
  StepScope& operator=(const StepScope&) = delete;

 private:
  Optimizer& optimizer_;
  c10::AutoGradMode grad_mode_;
};

inline void check_finite_loss(double loss) {
  PRUDENT_CHECK(std::isfinite(loss), "E_NON_FINITE", "loss", "a finite number", std::to_string(loss));
}

}  // namespace prudent::training
