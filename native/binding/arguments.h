// Reading arguments: types are checked, unknown keys are errors, and every failure names the argument, what was expected and
// what came. Everything is copied.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "training/token_rows.h"

namespace prudent::binding {

// "undefined", "number 3.5", "string 'abc'", "Float64Array of 3" …
std::string describe(const Napi::Value& value);

inline constexpr int64_t kMaxInteger = int64_t{1} << 53;

int64_t read_integer(const Napi::Value& value, const std::string& name, int64_t low, int64_t high = kMaxInteger);
std::string read_string(const Napi::Value& value, const std::string& name);
// -1 size: any.
std::vector<float> read_floats(const Napi::Value& value, const std::string& name, int64_t size = -1);
std::vector<int32_t> read_integers(const Napi::Value& value, const std::string& name, int64_t size = -1);
// { ids: Int32Array, lengths: Int32Array }; sums and ranges are checked where the model is known.
training::TokenRows read_rows(const Napi::Value& value, const std::string& name);

// A copy as fp32 tensor.
at::Tensor to_tensor(const std::vector<float>& values, at::IntArrayRef shape);

// Results.
Napi::Value to_float32_array(Napi::Env env, const float* data, size_t size);
Napi::Value to_float32_array(Napi::Env env, const std::vector<float>& values);
Napi::Value to_float32_array(Napi::Env env, const at::Tensor& tensor);
Napi::Value to_int32_array(Napi::Env env, const std::vector<int32_t>& values);
Napi::Value to_token_rows(Napi::Env env, const training::TokenRows& rows);

struct Range {
  double low = -std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::max();
  bool low_open = false;  // low itself is outside
};
inline constexpr Range kAny{};
inline constexpr Range kNotNegative{.low = 0};
inline constexpr Range kPositive{.low = 0, .low_open = true};
inline constexpr Range kUnit{.low = 0, .high = 1};

// An options object. A key that is absent or undefined takes its default; without a default it is required. Call finish()
// after the last read: it rejects the keys that nobody asked for.
class Options {
 public:
  // `value` may be undefined: no options.
  Options(const Napi::Value& value, std::string name);

  [[nodiscard]] bool has(const char* key);
  // undefined when absent.
  [[nodiscard]] Napi::Value value(const char* key);

  double number(const char* key, std::optional<double> fallback, const Range& range);
  int64_t integer(const char* key, std::optional<int64_t> fallback, int64_t low, int64_t high = kMaxInteger);
  bool flag(const char* key, std::optional<bool> fallback);
  std::string text(const char* key, std::optional<std::string> fallback = std::nullopt);
  std::vector<float> floats(const char* key, int64_t size = -1);
  std::vector<int32_t> integers(const char* key, int64_t size = -1);
  // A small array of numbers, `count` of them.
  std::vector<int64_t> shape(const char* key, size_t count);

  template <typename T>
  T choice(const char* key, std::optional<T> fallback, const std::vector<std::pair<const char*, T>>& choices) {
    if (fallback && !has(key)) return *fallback;
    const std::string given = text(key);
    std::string names;
    for (const auto& [name, result] : choices) {
      if (given == name) return result;
      names += (names.empty() ? "'" : " | '") + std::string(name) + "'";
    }
    out_of_range(key, names, "'" + given + "'");
  }

  void finish() const;

 private:
  [[nodiscard]] std::string path(const char* key) const { return name_.empty() ? key : name_ + "." + key; }
  [[noreturn]] void out_of_range(const char* key, const std::string& expected, const std::string& received) const;
  double read_number(const char* key);

  Napi::Env env_;
  Napi::Object object_;
  std::string name_;
  std::set<std::string> known_;
};

}  // namespace prudent::binding
