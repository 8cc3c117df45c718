// Options of the optimiser, of activation checkpointing and of PPO, shared by trainers and ops.
#pragma once

#include "binding/arguments.h"
#include "kernels/variance_kl_advantage/variance_kl_advantage.h"
#include "training/ppo_trainer.h"

namespace prudent::binding {

kernels::KlEstimator read_kl_estimator(Options& options, const char* key, std::optional<kernels::KlEstimator> fallback);
training::OptimizerOptions read_optimizer_options(Options& options);
models::Checkpointing read_checkpointing(Options& options);
training::PpoTrainerOptions read_ppo_options(const Napi::Value& value);

}  // namespace prudent::binding
