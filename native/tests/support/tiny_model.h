// The models of test/golden/tiny_models.py: weights are a hash of their names, with at most 8 significant bits.
#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "models/model.h"
#include "support/test_device.h"

namespace prudent::tests {

// Value `index` of a label's stream, in [-1, 1): splitmix64 over FNV-1a of the label, 24 bits.
inline double tiny_hash(const std::string& label, int64_t index) {
  uint64_t state = 0xCBF29CE484222325u;
  for (const char byte : label) state = (state ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  uint64_t z = state + static_cast<uint64_t>(index + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z = z ^ (z >> 31);
  return static_cast<double>(z >> 40) / static_cast<double>(1 << 23) - 1.0;
}

inline bool is_norm_gain(const std::string& name) {
  return name.ends_with("norm.weight") || name.ends_with("ln_1.weight") || name.ends_with("ln_2.weight") ||
         name.ends_with("ln_f.weight");
}

inline at::Tensor tiny_values(const std::string& name, at::IntArrayRef shape, models::Architecture architecture) {
  at::Tensor values = at::empty(shape, at::kFloat);
  auto* out = values.mutable_data_ptr<float>();
  const bool gain = is_norm_gain(name);
  const double offset = gain && architecture != models::Architecture::Gemma ? 1.0 : 0.0;
  for (int64_t i = 0; i < values.numel(); ++i) {
    out[i] = static_cast<float>(std::floor(tiny_hash(name, i) * 64) / (gain ? 128 : 256) + offset);
  }
  return values;
}

inline std::shared_ptr<models::Model> tiny_model(const std::string& config_json, models::Task task, at::ScalarType dtype,
                                                 const at::Device& device = test_device()) {
  models::LoadOptions options;
  options.task = task;
  options.dtype = dtype;
  options.device = device;
  auto model = models::Model::create(config_json, options);
  const at::NoGradGuard no_grad;
  for (auto& [name, parameter] : model->parameters()) {
    at::Tensor target = parameter;
    target.copy_(tiny_values(name, parameter.sizes(), model->config().architecture));
  }
  return model;
}

}  // namespace prudent::tests
