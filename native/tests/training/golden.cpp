#include "training/golden.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "support/golden_file.h"
#include "support/tiny_model.h"

namespace prudent::tests {
namespace {

// Models this small gain nothing from threads, and threads that wait for each other make the suite slow on a busy machine.
const bool one_thread = [] {
  at::set_num_threads(1);
  return true;
}();

}  // namespace

const Json& golden() {
  static const Json data = read_golden("training.json");
  return data;
}

const Json& member(const Json& object, const std::string& key) { return golden_member(object, key); }

double number(const Json& object, const std::string& key) { return member(object, key).as_number(key); }

std::vector<double> numbers(const Json& array) { return golden_numbers(array); }

std::vector<float> floats(const Json& array) {
  const std::vector<double> values = numbers(array);
  return {values.begin(), values.end()};
}

std::vector<int32_t> integers(const Json& array) {
  const std::vector<double> values = numbers(array);
  return {values.begin(), values.end()};
}

training::TokenRows token_rows(const Json& rows) {
  GoldenRows result = golden_rows(rows);
  return {std::move(result.ids), std::move(result.lengths)};
}

training::TokenRows token_rows(const std::vector<std::vector<int32_t>>& rows) {
  training::TokenRows result;
  for (const auto& row : rows) {
    result.ids.insert(result.ids.end(), row.begin(), row.end());
    result.lengths.push_back(static_cast<int32_t>(row.size()));
  }
  return result;
}

std::shared_ptr<models::Model> hashed_model(const std::string& name, uint64_t seed, int64_t heads, bool value_head,
                                            at::ScalarType dtype) {
  models::LoadOptions options;
  options.task = heads > 0 ? models::Task::SequenceClassification : models::Task::CausalLm;
  options.allow_new_head = true;
  options.dtype = dtype;
  options.device = test_device();
  if (heads > 0) options.num_labels = heads;
  auto model = models::Model::create(member(member(golden(), "configs"), name).dump(), options);
  if (value_head) model->add_value_head(0);
  const c10::NoGradGuard no_grad;
  for (auto& [parameter_name, parameter] : model->parameters()) {
    const bool norm_gain = name != "gemma" && parameter.dim() == 1 && parameter_name.ends_with("weight");
    const std::string label = std::to_string(seed) + "." + parameter_name;
    std::vector<double> values(parameter.numel());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = tiny_hash(label, static_cast<int64_t>(i)) * 0.2 + (norm_gain ? 1.0 : 0.0);
    }
    at::Tensor target = parameter;
    target.copy_(at::tensor(values, at::kDouble).to(at::kFloat).view(parameter.sizes()));
  }
  return model;
}

training::OptimizerOptions optimizer_options(const Json& record) {
  training::OptimizerOptions options;
  options.eps = number(record, "eps");
  if (record.find("weight_decay") != nullptr) options.weight_decay = number(record, "weight_decay");
  if (record.find("max_grad_norm") != nullptr) options.max_grad_norm = number(record, "max_grad_norm");
  return options;
}

double relative(double value, double expected) { return std::abs(value - expected) / std::max(std::abs(expected), 1e-3); }

Difference worst_difference(const models::NamedTensors& tensors, const Json& summaries, double floor) {
  Difference worst;
  const auto compare = [&](const std::string& name, double value, double expected, double scale) {
    const double difference = std::abs(value - expected) / scale;
    if (!(difference <= worst.value)) worst = {difference, name};
  };
  for (const auto& [name, tensor] : tensors) {
    const Json* summary = summaries.find(name);
    if (summary == nullptr) return {std::numeric_limits<double>::infinity(), name};
    const at::Tensor flat = tensor.detach().to(at::kCPU, at::kDouble).flatten().contiguous();
    const std::vector<double> values(flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel());
    const std::vector<double> first = numbers(member(*summary, "first")), last = numbers(member(*summary, "last"));
    const double norm = std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
    const double expected_norm = number(*summary, "norm");
    const double scale = std::max(floor, expected_norm / std::sqrt(static_cast<double>(values.size())));
    compare(name, norm, expected_norm, std::max(floor, expected_norm));
    for (size_t i = 0; i < first.size(); ++i) compare(name, values[i], first[i], scale);
    for (size_t i = 0; i < last.size(); ++i) compare(name, values[values.size() - last.size() + i], last[i], scale);
  }
  if (tensors.size() != summaries.as_object("summaries").size())
    return {std::numeric_limits<double>::infinity(), "a missing tensor"};
  return worst;
}

TemporaryFile::TemporaryFile(const std::string& stem) {
  static std::atomic<int> counter{0};
  path_ = (std::filesystem::temp_directory_path() / (stem + "-" + std::to_string(::getpid()) + "-" + std::to_string(counter++)))
              .string();
}

TemporaryFile::~TemporaryFile() { std::filesystem::remove(path_); }

bool same_bits(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.equal(b); }

models::NamedTensors copies(const models::NamedTensors& tensors) {
  models::NamedTensors result;
  for (const auto& [name, tensor] : tensors) result.emplace_back(name, tensor.detach().clone());
  return result;
}

bool same_bits(const models::NamedTensors& a, const models::NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first || !same_bits(a[i].second, b[i].second)) return false;
  }
  return true;
}

}  // namespace prudent::tests
