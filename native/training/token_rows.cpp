#include "training/token_rows.h"

#include <numeric>

#include "core/error.h"

namespace prudent::training {

std::vector<int64_t> TokenRows::offsets() const {
  std::vector<int64_t> result(lengths.size() + 1, 0);
  for (size_t row = 0; row < lengths.size(); ++row) {
    result[row + 1] = result[row] + lengths[row];
  }
  return result;
}

std::vector<models::RowView> TokenRows::views() const {
  std::vector<models::RowView> result;
  result.reserve(lengths.size());
  const int32_t* first = ids.data();
  for (const int32_t length : lengths) {
    result.push_back({first, length});
    first += length;
  }
  return result;
}

TokenRows TokenRows::select(const std::vector<int64_t>& index) const {
  const std::vector<int64_t> starts = offsets();
  TokenRows result;
  result.lengths.reserve(index.size());
  for (const int64_t row : index) {
    result.lengths.push_back(lengths[row]);
    result.ids.insert(result.ids.end(), ids.begin() + starts[row], ids.begin() + starts[row + 1]);
  }
  return result;
}

void check_rows(const TokenRows& rows, const models::ModelConfig& config, const std::string& argument) {
  PRUDENT_CHECK(!rows.lengths.empty(), "E_SHAPE", argument, "at least one row", "none");
  int64_t total = 0;
  for (size_t row = 0; row < rows.lengths.size(); ++row) {
    const int32_t length = rows.lengths[row];
    PRUDENT_CHECK(length >= 1, "E_SHAPE", argument + ".lengths[" + std::to_string(row) + "]", "a length >= 1",
                  std::to_string(length));
    PRUDENT_CHECK(length <= config.max_positions, "E_TOO_LONG", argument + ".lengths[" + std::to_string(row) + "]",
                  "at most " + std::to_string(config.max_positions) + " tokens", std::to_string(length));
    total += length;
  }
  PRUDENT_CHECK(total == rows.tokens(), "E_SHAPE", argument + ".ids", std::to_string(total) + " ids (the sum of lengths)",
                std::to_string(rows.tokens()));
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    PRUDENT_CHECK(rows.ids[i] >= 0 && rows.ids[i] < config.vocab_size, "E_RANGE", argument + ".ids[" + std::to_string(i) + "]",
                  "a token id in [0, " + std::to_string(config.vocab_size) + ")", std::to_string(rows.ids[i]));
  }
}

TokenRows concatenate_rows(const TokenRows& prompts, const TokenRows& responses) {
  PRUDENT_CHECK(prompts.rows() == responses.rows(), "E_SHAPE", "responses", std::to_string(prompts.rows()) + " rows",
                std::to_string(responses.rows()));
  TokenRows result;
  result.ids.reserve(prompts.ids.size() + responses.ids.size());
  result.lengths.reserve(prompts.lengths.size());
  auto prompt = prompts.ids.begin();
  auto response = responses.ids.begin();
  for (size_t row = 0; row < prompts.lengths.size(); ++row) {
    result.ids.insert(result.ids.end(), prompt, prompt + prompts.lengths[row]);
    result.ids.insert(result.ids.end(), response, response + responses.lengths[row]);
    result.lengths.push_back(prompts.lengths[row] + responses.lengths[row]);
    prompt += prompts.lengths[row];
    response += responses.lengths[row];
  }
  return result;
}

std::vector<std::pair<int64_t, int64_t>> micro_batches(const std::vector<int32_t>& costs, int64_t budget,
                                                       const std::string& argument) {
  PRUDENT_CHECK(budget >= 1, "E_RANGE", argument, "an integer >= 1", std::to_string(budget));
  std::vector<std::pair<int64_t, int64_t>> result;
  int64_t used = 0;
  for (int64_t row = 0; row < static_cast<int64_t>(costs.size()); ++row) {
    if (result.empty() || used + costs[row] > budget) {
      result.emplace_back(row, row);
      used = 0;
    }
    used += costs[row];
    result.back().second = row + 1;
  }
  return result;
}

models::PackedBatch pack_rows(const models::Model& model, const TokenRows& rows, int64_t first, int64_t last) {
  const int64_t start = std::accumulate(rows.lengths.begin(), rows.lengths.begin() + first, int64_t{0});
  const int64_t count = std::accumulate(rows.lengths.begin() + first, rows.lengths.begin() + last, int64_t{0});
  return models::pack(rows.ids.data() + start, count, rows.lengths.data() + first, last - first, model.config().vocab_size,
                      model.config().max_positions, model.device());
}

}  // namespace prudent::training
