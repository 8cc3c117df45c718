#include "core/json.h"

#include <charconv>
#include <string>
#include <unordered_set>

#include "core/error.h"

namespace prudent {
namespace {

constexpr int kMaxDepth = 128;

class Parser {
 public:
  Parser(std::string_view text, const std::string& source) : text_(text), source_(source) {}

  Json parse() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) corrupt("the end of the text", found());
    return value;
  }

 private:
  [[noreturn]] void corrupt(const std::string& expected, const std::string& received, size_t offset) const {
    fail("E_CORRUPT_FILE", source_, expected, received + " at byte " + std::to_string(offset));
  }
  [[noreturn]] void corrupt(const std::string& expected, const std::string& received) const { corrupt(expected, received, at_); }

  [[nodiscard]] std::string found() const {
    if (at_ >= text_.size()) return "the end of the text";
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte >= 0x20 && byte < 0x7f) return std::string("'") + text_[at_] + "'";
    constexpr char kDigits[] = "0123456789abcdef";
    return std::string("byte 0x") + kDigits[byte >> 4] + kDigits[byte & 15];
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }
  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json parse_value(int depth) {
    if (depth > kMaxDepth) corrupt("at most " + std::to_string(kMaxDepth) + " nested levels", "more");
    skip_space();
    if (take('{')) return parse_object(depth);
    if (take('[')) return parse_array(depth);
    if (at_ < text_.size() && text_[at_] == '"') return parse_string();
    if (take_word("true")) return true;
    if (take_word("false")) return false;
    if (take_word("null")) return nullptr;
    return parse_number();
  }

  Json parse_object(int depth) {
    Json::Object object;
    std::unordered_set<std::string> seen;
    skip_space();
    if (take('}')) return object;
    while (true) {
      skip_space();
      const size_t start = at_;
      if (at_ >= text_.size() || text_[at_] != '"') corrupt("a string as key", found());
      std::string key = parse_string();
      if (!seen.insert(key).second) corrupt("every key once", "\"" + key + "\" a second time", start);
      skip_space();
      if (!take(':')) corrupt("':'", found());
      object.emplace_back(std::move(key), parse_value(depth + 1));
      skip_space();
      if (take('}')) return object;
      if (!take(',')) corrupt("',' or '}'", found());
    }
  }

  Json parse_array(int depth) {
    Json::Array array;
    skip_space();
    if (take(']')) return array;
    while (true) {
      array.push_back(parse_value(depth + 1));
      skip_space();
      if (take(']')) return array;
      if (!take(',')) corrupt("',' or ']'", found());
    }
  }

  Json parse_number() {
    const size_t start = at_;
    take('-');
    if (take('0')) {
      if (at_ < text_.size() && is_digit()) corrupt("a number without leading zeros", found());
    } else if (!take_digits()) {
      corrupt("a value", found(), start);
    }
    bool integer = true;
    if (take('.')) {
      integer = false;
      if (!take_digits()) corrupt("a digit after the decimal point", found());
    }
    if (take('e') || take('E')) {
      integer = false;
      if (!take('+')) take('-');
      if (!take_digits()) corrupt("a digit in the exponent", found());
    }
    const char* first = text_.data() + start;
    const char* last = text_.data() + at_;
    if (integer) {
      int64_t value = 0;
      if (std::from_chars(first, last, value).ec == std::errc()) return value;
    }
    double value = 0;
    const auto parsed = std::from_chars(first, last, value);
    if (parsed.ec != std::errc() && !underflows(std::string_view(first, static_cast<size_t>(last - first)))) {
      corrupt("a number within the range of float64", "one beyond it", start);
    }
    return value;
  }
  // from_chars reports overflow and underflow alike; a tiny number is 0, a huge one is an error.
  static bool underflows(std::string_view number) {
    const size_t e = number.find_first_of("eE");
    return e != std::string_view::npos && e + 1 < number.size() && number[e + 1] == '-';
  }
  [[nodiscard]] bool is_digit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  bool take_digits() {
    const size_t start = at_;
    while (is_digit()) ++at_;
    return at_ > start;
  }

  std::string parse_string() {
    ++at_;  // the opening quote
    std::string out;
    while (true) {
      if (at_ >= text_.size()) corrupt("a closing quote", found());
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') {
        ++at_;
        return out;
      }
      if (byte == '\\') {
        parse_escape(out);
      } else if (byte < 0x20) {
        corrupt("control characters escaped", found());
      } else {
        copy_code_point(out);
      }
    }
  }

  void parse_escape(std::string& out) {
    const size_t start = at_;
    ++at_;
    const char c = at_ < text_.size() ? text_[at_] : '\0';
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out.push_back(c);
        return;
      case 'b':
        out.push_back('\b');
        return;
      case 'f':
        out.push_back('\f');
        return;
      case 'n':
        out.push_back('\n');
        return;
      case 'r':
        out.push_back('\r');
        return;
      case 't':
        out.push_back('\t');
        return;
      case 'u':
        break;
      default:
        corrupt("a known escape", "another", start);
    }
    uint32_t code = parse_hex4(start);
    if (code >= 0xDC00 && code <= 0xDFFF) corrupt("a high surrogate before a low one", "a lone low surrogate", start);
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (!take_word("\\u")) corrupt("a low surrogate after a high one", "a lone high surrogate", start);
      const uint32_t low = parse_hex4(start);
      if (low < 0xDC00 || low > 0xDFFF) corrupt("a low surrogate after a high one", "another code", start);
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
  }

  uint32_t parse_hex4(size_t start) {
    uint32_t code = 0;
    const char* first = text_.data() + at_;
    const char* last = first + std::min<size_t>(4, text_.size() - std::min(at_, text_.size()));
    const auto parsed = std::from_chars(first, last, code, 16);
    if (parsed.ec != std::errc() || parsed.ptr != first + 4) corrupt("four hexadecimal digits", "fewer", start);
    at_ += 4;
    return code;
  }

  static void append_utf8(std::string& out, uint32_t code) {
    const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | (code >> 6));
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | (code >> 12));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | (code >> 18));
      put(0x80 | ((code >> 12) & 0x3F));
      put(0x80 | ((code >> 6) & 0x3F));
      put(0x80 | (code & 0x3F));
    }
  }

  // One UTF-8 sequence: shortest form, no surrogates, at most U+10FFFF.
  void copy_code_point(std::string& out) {
    const auto byte = [this](size_t i) { return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0; };
    const uint32_t lead = byte(0);
    size_t length = 1;
    uint32_t code = lead;
    if (lead >= 0x80) {
      length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
      code = lead & (0xFFu >> (length + 1));
      bool valid = lead >= 0xC2 && lead <= 0xF4;
      for (size_t i = 1; i < length; ++i) {
        valid = valid && (byte(i) & 0xC0) == 0x80;
        code = (code << 6) | (byte(i) & 0x3F);
      }
      constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
      valid = valid && code >= kLeast[length] && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF);
      if (!valid) corrupt("UTF-8", found());
    }
    out.append(text_.substr(at_, length));
    at_ += length;
  }

  std::string_view text_;
  const std::string& source_;
  size_t at_ = 0;
};

}  // namespace

const char* Json::type_name() const {
  if (is_null()) return "null";
  if (is_bool()) return "a boolean";
  if (is_int()) return "an integer";
  if (is_number()) return "a number";
  if (is_string()) return "a string";
  return is_array() ? "an array" : "an object";
}

bool Json::as_bool(std::string_view argument) const {
  PRUDENT_CHECK(is_bool(), "E_TYPE", std::string(argument), "a boolean", type_name());
  return std::get<bool>(value_);
}
int64_t Json::as_int(std::string_view argument) const {
  PRUDENT_CHECK(is_int(), "E_TYPE", std::string(argument), "an integer", type_name());
  return std::get<int64_t>(value_);
}
double Json::as_number(std::string_view argument) const {
  PRUDENT_CHECK(is_number(), "E_TYPE", std::string(argument), "a number", type_name());
  return is_int() ? static_cast<double>(std::get<int64_t>(value_)) : std::get<double>(value_);
}
const std::string& Json::as_string(std::string_view argument) const {
  PRUDENT_CHECK(is_string(), "E_TYPE", std::string(argument), "a string", type_name());
  return std::get<std::string>(value_);
}
const Json::Array& Json::as_array(std::string_view argument) const {
  PRUDENT_CHECK(is_array(), "E_TYPE", std::string(argument), "an array", type_name());
  return std::get<Array>(value_);
}
const Json::Object& Json::as_object(std::string_view argument) const {
  PRUDENT_CHECK(is_object(), "E_TYPE", std::string(argument), "an object", type_name());
  return std::get<Object>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : std::get<Object>(value_)) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Json::set(std::string_view key, Json value) {
  if (is_null()) value_ = Object{};
  PRUDENT_CHECK(is_object(), "E_TYPE", std::string(key), "a member of an object", type_name());
  auto& object = std::get<Object>(value_);
  for (auto& [name, existing] : object) {
    if (name == key) {
      existing = std::move(value);
      return;
    }
  }
  object.emplace_back(std::string(key), std::move(value));
}

void Json::erase(std::string_view key) {
  if (!is_object()) return;
  std::erase_if(std::get<Object>(value_), [key](const auto& member) { return member.first == key; });
}

Json parse_json(std::string_view text, const std::string& source) { return Parser(text, source).parse(); }

}  // namespace prudent
