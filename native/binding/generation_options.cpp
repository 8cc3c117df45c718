#include "binding/generation_options.h"

#include <cmath>

#include "core/error.h"

namespace prudent::binding {
namespace {

constexpr int64_t kMaxNewTokens = 1 << 24;

std::vector<int64_t> read_row_keys(const Napi::Value& value, int64_t rows) {
  if (value.IsUndefined()) return {};
  const bool matches = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array;
  PRUDENT_CHECK(matches, "E_DTYPE", "options.rowKeys", "Float64Array", describe(value));
  const auto keys = value.As<Napi::Float64Array>();
  PRUDENT_CHECK(static_cast<int64_t>(keys.ElementLength()) == rows, "E_SHAPE", "options.rowKeys", std::to_string(rows) + " keys",
                std::to_string(keys.ElementLength()));
  std::vector<int64_t> result;
  for (int64_t row = 0; row < rows; ++row) {
    const double key = keys.Data()[row];
    PRUDENT_CHECK(std::floor(key) == key && std::abs(key) <= static_cast<double>(kMaxInteger), "E_RANGE",
                  "options.rowKeys[" + std::to_string(row) + "]", "an integer", std::to_string(key));
    result.push_back(static_cast<int64_t>(key));
  }
  return result;
}

std::vector<int64_t> read_token_ids(const Napi::Value& value) {
  PRUDENT_CHECK(value.IsArray(), "E_TYPE", "options.eosTokenIds", "an array of token ids", describe(value));
  const auto array = value.As<Napi::Array>();
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array.Get(i);
    const double id = entry.IsNumber() ? entry.As<Napi::Number>().DoubleValue() : -1;
    PRUDENT_CHECK(id >= 0 && id <= 2147483647.0 && std::floor(id) == id, "E_RANGE",
                  "options.eosTokenIds[" + std::to_string(i) + "]", "a token id", describe(entry));
    result.push_back(static_cast<int64_t>(id));
  }
  return result;
}

}  // namespace

int64_t read_batch_tokens(Options& options) { return options.integer("batchTokens", std::nullopt, 1); }

training::RolloutOptions read_generate_options(Options& options, int64_t rows) {
  training::RolloutOptions result;
  result.batch_tokens = read_batch_tokens(options);
  result.row_keys = read_row_keys(options.value("rowKeys"), rows);
  models::GenerateOptions& generate = result.generate;
  generate.max_new_tokens = options.integer("maxNewTokens", std::nullopt, 1, kMaxNewTokens);
  generate.min_new_tokens = options.integer("minNewTokens", 0, 0, generate.max_new_tokens);
  generate.eos_token_ids = read_token_ids(options.value("eosTokenIds"));
  generate.sampling.greedy = options.flag("greedy", std::nullopt);
  generate.sampling.temperature = options.number("temperature", std::nullopt, kPositive);
  generate.sampling.top_k = options.integer("topK", std::nullopt, 0);
  generate.sampling.top_p = options.number("topP", std::nullopt, {.low = 0, .high = 1, .low_open = true});
  generate.sampling.seed = static_cast<uint64_t>(options.integer("seed", std::nullopt, 0));
  return result;
}

}  // namespace prudent::binding
