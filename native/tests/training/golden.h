// Golden data of the training steps (test/golden/data/training.json), and models that stand where the generator's stood.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "models/model.h"
#include "training/optimizer.h"
#include "training/token_rows.h"

namespace prudent::tests {

const Json& golden();
const Json& member(const Json& object, const std::string& key);
double number(const Json& object, const std::string& key);
std::vector<double> numbers(const Json& array);
std::vector<float> floats(const Json& array);
std::vector<int32_t> integers(const Json& array);
training::TokenRows token_rows(const Json& rows);
training::TokenRows token_rows(const std::vector<std::vector<int32_t>>& rows);

// `name` is gpt2, gemma or llama; heads > 0: a classifier.
std::shared_ptr<models::Model> hashed_model(const std::string& name, uint64_t seed, int64_t heads = 0, bool value_head = false,
                                            at::ScalarType dtype = at::kFloat);

training::OptimizerOptions optimizer_options(const Json& record);

// Largest difference between `tensors` and the summaries of the same names, each relative to the largest value of its summary
// (at least `floor`); infinite when a name is missing on either side.
struct Difference {
  double value = 0;
  std::string name;  // of the tensor with the largest difference
};
Difference worst_difference(const models::NamedTensors& tensors, const Json& summaries, double floor);
double relative(double value, double expected);

// A new file name that is removed with this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& stem);
  ~TemporaryFile();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool same_bits(const at::Tensor& a, const at::Tensor& b);
// Deep copies, to compare with later.
models::NamedTensors copies(const models::NamedTensors& tensors);
bool same_bits(const models::NamedTensors& a, const models::NamedTensors& b);
// The code of the prudent::Error that `action` throws, or "".
template <typename Action>
std::string error_code(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code;
  }
  return "";
}

}  // namespace prudent::tests
