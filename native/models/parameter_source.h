// Where a model's weights come from: a folder, a seed, or another model. An architecture is written once, as the list of
// parameters that its constructor takes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/safetensors.h"
#include "models/model.h"

namespace prudent::models {

struct ParameterRequest {
  const std::string& name;
  const std::vector<int64_t>& shape;
  Init init;
  at::ScalarType dtype;
};

class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual at::Tensor get(const ParameterRequest& request) = 0;
  // Does the source hold this parameter of its own?
  [[nodiscard]] virtual bool has(const std::string& name) const = 0;
};

// Seeded by name: a parameter's values do not depend on which others the model has.
class RandomSource final : public ParameterSource {
 public:
  RandomSource(const ModelConfig& config, uint64_t seed, const at::Device& device)
      : normal_std_(config.initializer_range),
        layers_(config.layers),
        hidden_(config.hidden_size),
        seed_(seed),
        device_(device) {}
  at::Tensor get(const ParameterRequest& request) override;
  [[nodiscard]] bool has(const std::string&) const override { return false; }

 private:
  double normal_std_;
  int64_t layers_;
  int64_t hidden_;
  uint64_t seed_;
  at::Device device_;
};

// Weights of a Hugging Face folder, whichever age its tensor names are of: with or without the base model's prefix
// ("model.", "transformer."), with or without TRL's "pretrained_model.".
class FolderSource final : public ParameterSource {
 public:
  FolderSource(const std::string& folder, const ModelConfig& config, const LoadOptions& options, const Job& job);
  at::Tensor get(const ParameterRequest& request) override;
  [[nodiscard]] bool has(const std::string& name) const override { return !find(name).empty(); }
  // E_MISSING_TENSOR with the names that were missing and those that nothing took.
  void finish() const;

 private:
  [[nodiscard]] std::string find(const std::string& name) const;  // its name in the file, or empty
  [[nodiscard]] bool ignorable(const std::string& file_name) const;

  std::string folder_;
  SafetensorsFolder files_;
  Architecture architecture_;
  bool tied_;
  LoadOptions options_;
  RandomSource new_heads_;
  const Job& job_;
  std::set<std::string> used_;
  std::vector<std::string> missing_;
};

class CloneSource final : public ParameterSource {
 public:
  explicit CloneSource(const Model& model);
  at::Tensor get(const ParameterRequest& request) override;
  [[nodiscard]] bool has(const std::string& name) const override;

 private:
  NamedTensors parameters_;
};

}  // namespace prudent::models
