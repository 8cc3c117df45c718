#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/json.h"

namespace prudent {
namespace {

void write_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20) {
      constexpr char kDigits[] = "0123456789abcdef";
      out += "\\u00";
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void write_double(std::string& out, double value) {
  if (!std::isfinite(value)) fail("E_NON_FINITE", "value", "a finite number for JSON", std::to_string(value));
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  const std::string_view digits(buffer, static_cast<size_t>(end - buffer));
  out += digits;
  // Readers that tell integers from floats must see a float again.
  if (digits.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void break_line(std::string& out, int indent, int depth) {
  if (indent < 0) return;
  out.push_back('\n');
  out.append(static_cast<size_t>(indent * depth), ' ');
}

void write_value(std::string& out, const Json& value, int indent, int depth) {
  if (value.is_null()) {
    out += "null";
  } else if (value.is_bool()) {
    out += value.as_bool("") ? "true" : "false";
  } else if (value.is_int()) {
    out += std::to_string(value.as_int(""));
  } else if (value.is_number()) {
    write_double(out, value.as_number(""));
  } else if (value.is_string()) {
    write_string(out, value.as_string(""));
  } else if (value.is_array()) {
    out.push_back('[');
    bool first = true;
    for (const Json& item : value.as_array("")) {
      if (!first) out.push_back(',');
      first = false;
      break_line(out, indent, depth + 1);
      write_value(out, item, indent, depth + 1);
    }
    if (!first) break_line(out, indent, depth);
    out.push_back(']');
  } else {
    out.push_back('{');
    bool first = true;
    for (const auto& [key, item] : value.as_object("")) {
      if (!first) out.push_back(',');
      first = false;
      break_line(out, indent, depth + 1);
      write_string(out, key);
      out += indent < 0 ? ":" : ": ";
      write_value(out, item, indent, depth + 1);
    }
    if (!first) break_line(out, indent, depth);
    out.push_back('}');
  }
}

}  // namespace

std::string Json::dump(int indent) const {
  std::string out;
  write_value(out, *this, indent, 0);
  return out;
}

}  // namespace prudent
