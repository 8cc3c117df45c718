// Golden data of test/golden/data, read with the product's own JSON parser.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/io.h"
#include "core/json.h"

namespace prudent::tests {

inline Json read_golden(const std::string& name) {
  const auto path = (std::filesystem::path(PRUDENT_GOLDEN_DATA) / name).string();
  return parse_json(read_text_file(path), path);
}

inline const Json& golden_member(const Json& object, const std::string& key) {
  const Json* value = object.find(key);
  if (value == nullptr) throw std::runtime_error("golden data lack " + key);
  return *value;
}

inline std::vector<double> golden_numbers(const Json& array) {
  std::vector<double> result;
  for (const Json& value : array.as_array("numbers")) result.push_back(value.as_number("number"));
  return result;
}

// Rows of token ids laid end to end, and the length of each.
struct GoldenRows {
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;
};

inline GoldenRows golden_rows(const Json& rows) {
  GoldenRows result;
  for (const Json& row : rows.as_array("rows")) {
    for (const Json& id : row.as_array("row")) result.ids.push_back(static_cast<int32_t>(id.as_int("id")));
    result.lengths.push_back(static_cast<int32_t>(row.as_array("row").size()));
  }
  return result;
}

}  // namespace prudent::tests
