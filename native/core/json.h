// A strict JSON reader and writer for configuration files and safetensors headers: RFC 8259, UTF-8 checked, duplicate keys
// refused, integers exact in int64, members kept in file order so that a config can be written back as it was read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace prudent {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int64_t value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(double value) : value_(value) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  [[nodiscard]] bool is_bool() const { return std::holds_alternative<bool>(value_); }
  [[nodiscard]] bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  // Any number, integers included.
  [[nodiscard]] bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value_); }
  [[nodiscard]] bool is_array() const { return std::holds_alternative<Array>(value_); }
  [[nodiscard]] bool is_object() const { return std::holds_alternative<Object>(value_); }

  // Each fails with E_TYPE naming `argument` when the value is of another type.
  [[nodiscard]] bool as_bool(std::string_view argument) const;
  [[nodiscard]] int64_t as_int(std::string_view argument) const;
  [[nodiscard]] double as_number(std::string_view argument) const;
  [[nodiscard]] const std::string& as_string(std::string_view argument) const;
  [[nodiscard]] const Array& as_array(std::string_view argument) const;
  [[nodiscard]] const Object& as_object(std::string_view argument) const;

  // Member of an object, or nullptr when it is absent (or this is no object).
  [[nodiscard]] const Json* find(std::string_view key) const;
  // Replace a member in place, or append it. A null value becomes an object.
  void set(std::string_view key, Json value);
  void erase(std::string_view key);

  // "null", "a boolean", "an integer", "a number", "a string", "an array", "an object"
  [[nodiscard]] const char* type_name() const;
  // indent < 0: one line. Doubles are written with the fewest digits that read back exactly.
  [[nodiscard]] std::string dump(int indent = -1) const;

 private:
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_ = nullptr;
};

// `source` names the text in errors (a file path). E_CORRUPT_FILE with the byte offset of what is wrong.
Json parse_json(std::string_view text, const std::string& source);

}  // namespace prudent
