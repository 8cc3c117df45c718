#include "binding/arguments.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "core/error.h"

namespace prudent::binding {
namespace {

const char* array_name(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
      return "Int8Array";
    case napi_uint8_array:
      return "Uint8Array";
    case napi_uint8_clamped_array:
      return "Uint8ClampedArray";
    case napi_int16_array:
      return "Int16Array";
    case napi_uint16_array:
      return "Uint16Array";
    case napi_int32_array:
      return "Int32Array";
    case napi_uint32_array:
      return "Uint32Array";
    case napi_float32_array:
      return "Float32Array";
    case napi_float64_array:
      return "Float64Array";
    case napi_bigint64_array:
      return "BigInt64Array";
    case napi_biguint64_array:
      return "BigUint64Array";
    default:
      return "typed array";
  }
}

std::string number_text(double value) {
  std::ostringstream text;
  text.precision(15);
  text << value;
  return text.str();
}

template <typename T>
std::vector<T> read_array(const Napi::Value& value, const std::string& name, int64_t size, napi_typedarray_type type) {
  const bool matches = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
  PRUDENT_CHECK(matches, "E_DTYPE", name, array_name(type), describe(value));
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  const size_t length = array.ElementLength();
  PRUDENT_CHECK(size < 0 || static_cast<int64_t>(length) == size, "E_SHAPE", name, std::to_string(size) + " values",
                std::to_string(length));
  if (length == 0) return {};
  return std::vector<T>(array.Data(), array.Data() + length);
}

template <typename T>
Napi::Value copy_out(Napi::Env env, const T* data, size_t size) {
  auto array = Napi::TypedArrayOf<T>::New(env, size);
  if (size > 0) std::memcpy(array.Data(), data, size * sizeof(T));
  return array;
}

}  // namespace

std::string describe(const Napi::Value& value) {
  if (value.IsEmpty() || value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsNumber()) return "number " + number_text(value.As<Napi::Number>().DoubleValue());
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value() ? "true" : "false";
  if (value.IsString()) return "string '" + value.As<Napi::String>().Utf8Value().substr(0, 60) + "'";
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    return std::string(array_name(array.TypedArrayType())) + " of " + std::to_string(array.ElementLength());
  }
  if (value.IsArray()) return "array of " + std::to_string(value.As<Napi::Array>().Length());
  if (value.IsFunction()) return "a function";
  if (value.IsBigInt()) return "a bigint";
  if (value.IsSymbol()) return "a symbol";
  return "an object";
}

int64_t read_integer(const Napi::Value& value, const std::string& name, int64_t low, int64_t high) {
  const std::string expected = high == kMaxInteger ? "an integer >= " + std::to_string(low)
                                                   : "an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]";
  PRUDENT_CHECK(value.IsNumber(), "E_TYPE", name, expected, describe(value));
  const double number = value.As<Napi::Number>().DoubleValue();
  const bool inside = number >= static_cast<double>(low) && number <= static_cast<double>(high) && std::floor(number) == number;
  PRUDENT_CHECK(inside, "E_RANGE", name, expected, number_text(number));
  return static_cast<int64_t>(number);
}

std::string read_string(const Napi::Value& value, const std::string& name) {
  PRUDENT_CHECK(value.IsString(), "E_TYPE", name, "a string", describe(value));
  return value.As<Napi::String>().Utf8Value();
}

std::vector<float> read_floats(const Napi::Value& value, const std::string& name, int64_t size) {
  return read_array<float>(value, name, size, napi_float32_array);
}

std::vector<int32_t> read_integers(const Napi::Value& value, const std::string& name, int64_t size) {
  return read_array<int32_t>(value, name, size, napi_int32_array);
}

training::TokenRows read_rows(const Napi::Value& value, const std::string& name) {
  PRUDENT_CHECK(value.IsObject(), "E_TYPE", name, "{ ids, lengths }", describe(value));
  Options rows(value, name);
  training::TokenRows result{rows.integers("ids"), rows.integers("lengths")};
  rows.finish();
  return result;
}

at::Tensor to_tensor(const std::vector<float>& values, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  PRUDENT_CHECK(tensor.numel() == static_cast<int64_t>(values.size()), "E_SHAPE", "values",
                std::to_string(tensor.numel()) + " values", std::to_string(values.size()));
  if (!values.empty()) std::memcpy(tensor.data_ptr<float>(), values.data(), values.size() * sizeof(float));
  return tensor;
}

Napi::Value to_float32_array(Napi::Env env, const float* data, size_t size) { return copy_out(env, data, size); }
Napi::Value to_float32_array(Napi::Env env, const std::vector<float>& values) {
  return copy_out(env, values.data(), values.size());
}
Napi::Value to_float32_array(Napi::Env env, const at::Tensor& tensor) {
  return copy_out(env, tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel()));
}
Napi::Value to_int32_array(Napi::Env env, const std::vector<int32_t>& values) {
  return copy_out(env, values.data(), values.size());
}

Napi::Value to_token_rows(Napi::Env env, const training::TokenRows& rows) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("ids", to_int32_array(env, rows.ids));
  result.Set("lengths", to_int32_array(env, rows.lengths));
  return result;
}

Options::Options(const Napi::Value& value, std::string name) : env_(value.Env()), name_(std::move(name)) {
  if (value.IsUndefined()) {
    object_ = Napi::Object::New(env_);
    return;
  }
  const bool plain = value.IsObject() && !value.IsArray() && !value.IsTypedArray() && !value.IsFunction();
  PRUDENT_CHECK(plain, "E_TYPE", name_.empty() ? "options" : name_, "an object", describe(value));
  object_ = value.As<Napi::Object>();
}

Napi::Value Options::value(const char* key) {
  known_.insert(key);
  return object_.Get(key);
}

bool Options::has(const char* key) { return !value(key).IsUndefined(); }

void Options::out_of_range(const char* key, const std::string& expected, const std::string& received) const {
  fail("E_RANGE", path(key), expected, received);
}

double Options::read_number(const char* key) {
  const Napi::Value given = value(key);
  PRUDENT_CHECK(given.IsNumber(), "E_TYPE", path(key), "a number", describe(given));
  return given.As<Napi::Number>().DoubleValue();
}

double Options::number(const char* key, std::optional<double> fallback, const Range& range) {
  if (fallback && !has(key)) return *fallback;
  const double result = read_number(key);
  const bool inside = result <= range.high && (range.low_open ? result > range.low : result >= range.low);
  if (!inside) {  // NaN too
    std::string expected = "a finite number";
    if (range.high == 1) {
      expected = std::string("a number in ") + (range.low_open ? "(" : "[") + number_text(range.low) + ", 1]";
    } else if (range.low > kAny.low) {
      expected += (range.low_open ? " > " : " >= ") + number_text(range.low);
    }
    out_of_range(key, expected, number_text(result));
  }
  return result;
}

int64_t Options::integer(const char* key, std::optional<int64_t> fallback, int64_t low, int64_t high) {
  return fallback && !has(key) ? *fallback : read_integer(value(key), path(key), low, high);
}

bool Options::flag(const char* key, std::optional<bool> fallback) {
  const Napi::Value given = value(key);
  if (fallback && given.IsUndefined()) return *fallback;
  PRUDENT_CHECK(given.IsBoolean(), "E_TYPE", path(key), "true or false", describe(given));
  return given.As<Napi::Boolean>().Value();
}

std::string Options::text(const char* key, std::optional<std::string> fallback) {
  const Napi::Value given = value(key);
  if (fallback && given.IsUndefined()) return *fallback;
  return read_string(given, path(key));
}

std::vector<float> Options::floats(const char* key, int64_t size) { return read_floats(value(key), path(key), size); }
std::vector<int32_t> Options::integers(const char* key, int64_t size) { return read_integers(value(key), path(key), size); }

std::vector<int64_t> Options::shape(const char* key, size_t count) {
  const Napi::Value given = value(key);
  const bool matches = given.IsArray() && given.As<Napi::Array>().Length() == count;
  PRUDENT_CHECK(matches, "E_TYPE", path(key), "an array of " + std::to_string(count) + " integers", describe(given));
  const auto array = given.As<Napi::Array>();
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < count; ++i) {
    result.push_back(read_integer(array.Get(i), path(key) + "[" + std::to_string(i) + "]", 1, 2147483647));
  }
  return result;
}

void Options::finish() const {
  const Napi::Array keys = object_.GetPropertyNames();
  for (uint32_t i = 0; i < keys.Length(); ++i) {
    const std::string key = Napi::Value(keys[i]).ToString().Utf8Value();
    if (known_.contains(key)) continue;
    std::string names;
    for (const auto& name : known_) names += (names.empty() ? "" : ", ") + name;
    fail("E_TYPE", path(key.c_str()), "one of the keys " + names, "an unknown key");
  }
}

}  // namespace prudent::binding
