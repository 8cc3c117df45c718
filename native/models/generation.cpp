#include "models/generation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/transfer.h"
#include "models/generation_rows.h"
#include "models/kv_cache.h"
#ifdef PRUDENT_CUDA
#include "models/generation_cuda.h"
#endif

namespace prudent::models {
namespace {

void check_options(const GenerateOptions& options) {
  PRUDENT_CHECK(options.max_new_tokens >= 1, "E_RANGE", "maxNewTokens", "at least 1", std::to_string(options.max_new_tokens));
  PRUDENT_CHECK(options.min_new_tokens >= 0 && options.min_new_tokens <= options.max_new_tokens, "E_RANGE", "minNewTokens",
                "between 0 and maxNewTokens", std::to_string(options.min_new_tokens));
  PRUDENT_CHECK(!options.record || options.min_new_tokens == 0, "E_RANGE", "minNewTokens",
                "0, as the recorded log-probabilities are those of the whole vocabulary, EOS included",
                std::to_string(options.min_new_tokens));
}

struct Drawn {
  at::Tensor ids;               // [live rows] int64 on the CPU
  at::Tensor logprobs, values;  // [live rows] fp32 on the CPU, when recorded
};

at::Tensor gather(const std::vector<int64_t>& rows, const std::vector<int64_t>& values) {
  at::Tensor out = at::empty({static_cast<int64_t>(rows.size())}, at::kLong);
  auto* data = out.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i) data[i] = values[static_cast<size_t>(rows[i])];
  return out;
}

// `hidden` [live rows, hidden]: the states that the next tokens are drawn from.
Drawn draw(const Model& model, const at::Tensor& hidden, const LiveRows& live, const std::vector<int64_t>& keys,
           const std::vector<int64_t>& next_positions, const GenerateOptions& options, int64_t step) {
  at::Tensor logits = model.logits(hidden);
  if (step < options.min_new_tokens) {
    for (const int64_t eos : options.eos_token_ids) {
      if (eos >= 0 && eos < logits.size(1)) logits.select(1, eos).fill_(-std::numeric_limits<double>::infinity());
    }
  }
  Drawn drawn;
  const at::Tensor row_keys = to_device(gather(live.rows, keys), logits.device());
  const at::Tensor positions = to_device(gather(live.rows, next_positions), logits.device());
  drawn.ids =
      kernels::sample(logits, row_keys, positions, options.sampling, options.record ? &drawn.logprobs : nullptr).to(at::kCPU);
  kernels::check_sampled(drawn.ids);
  if (options.record) {
    drawn.logprobs = drawn.logprobs.to(at::kCPU);
    drawn.values = model.values(hidden).to(at::kCPU).contiguous();
  }
  return drawn;
}

void append(LiveRows& live, const Drawn& drawn) {
  const auto* ids = drawn.ids.const_data_ptr<int64_t>();
  for (size_t slot = 0; slot < live.rows.size(); ++slot) {
    Response& response = live.response(slot);
    response.ids.push_back(static_cast<int32_t>(ids[slot]));
    if (!drawn.logprobs.defined()) continue;
    response.logprobs.push_back(drawn.logprobs.const_data_ptr<float>()[slot]);
    response.values.push_back(drawn.values.const_data_ptr<float>()[slot]);
  }
}

// Rows that are done leave the cache. Returns the ids of the rows that stay, in slot order.
std::vector<int64_t> advance(LiveRows& live, const at::Tensor& drawn, KvCache& cache, const GenerateOptions& options,
                             bool last_step) {
  const auto* ids = drawn.const_data_ptr<int64_t>();
  std::vector<int64_t> stay(ids, ids + live.rows.size());
  const auto done = [&](int64_t id) { return last_step || is_end(options, id); };
  for (size_t slot = live.rows.size(); slot-- > 0;) {  // backwards: what moves into the slot has been looked at
    if (!done(stay[slot])) continue;
    cache.remove_row(static_cast<int64_t>(slot));
    live.rows[slot] = live.rows.back();
    stay[slot] = stay.back();
    live.rows.pop_back();
    stay.pop_back();
  }
  return stay;
}

// One token a row, at the position that follows what the cache holds.
PackedBatch next_batch(const std::vector<int64_t>& ids, const KvCache& cache, const at::Device& device) {
  const auto rows = static_cast<int64_t>(ids.size());
  PackedBatch batch;
  batch.lengths.assign(ids.size(), 1);
  for (int64_t row = 0; row < rows; ++row) batch.ends.push_back(row);
  batch.ids = at::empty({rows}, at::kLong);
  batch.positions = at::empty({rows}, at::kLong);
  batch.cu_seqlens = at::empty({rows + 1}, at::kInt);
  for (int64_t row = 0; row < rows; ++row) {
    batch.ids.mutable_data_ptr<int64_t>()[row] = ids[static_cast<size_t>(row)];
    batch.positions.mutable_data_ptr<int64_t>()[row] = cache.length(row);
  }
  for (int64_t row = 0; row <= rows; ++row) batch.cu_seqlens.mutable_data_ptr<int32_t>()[row] = static_cast<int32_t>(row);
  batch.ids = to_device(batch.ids, device);
  batch.positions = to_device(batch.positions, device);
  return batch;
}

}  // namespace

Generated generate(const Model& model, const PackedBatch& prompts, const std::vector<int64_t>& row_keys,
                   const GenerateOptions& options, const Job& job) {
  check_options(options);
  (void)model.lm_weight();
  PRUDENT_CHECK(!options.record || model.has_value_head(), "E_NO_HEAD", "model", "a policy with a value head", "none");
  const int64_t rows = prompts.rows();
  PRUDENT_CHECK(static_cast<int64_t>(row_keys.size()) == rows, "E_SHAPE", "rowKeys", std::to_string(rows) + " keys",
                std::to_string(row_keys.size()));
  const int64_t longest = *std::max_element(prompts.lengths.begin(), prompts.lengths.end());
  const int64_t capacity = longest + options.max_new_tokens;
  PRUDENT_CHECK(capacity <= model.config().max_positions, "E_TOO_LONG", "prompts",
                "prompt + new tokens <= " + std::to_string(model.config().max_positions), std::to_string(capacity));

#ifdef PRUDENT_CUDA
  if (model.device().is_cuda()) {
    if (auto generated = generate_with_graphs(model, prompts, row_keys, options, job)) return *std::move(generated);
  }
#endif
  const at::NoGradGuard no_grad;
  KvCache cache(model.config(), rows, capacity, model.dtype(), model.device());
  LiveRows live(rows);
  std::vector<int64_t> positions;  // where each row's next token goes; a draw's random number depends on it
  for (int64_t row = 0; row < rows; ++row) positions.push_back(prompts.lengths[static_cast<size_t>(row)]);
  at::Tensor last = model.hidden(prompts, &cache, {.rows = prompts.last_index()});
  for (int64_t step = 0; step < options.max_new_tokens; ++step) {
    job.poll();
    const Drawn drawn = draw(model, last, live, row_keys, positions, options, step);
    append(live, drawn);
    const auto ids = advance(live, drawn.ids, cache, options, step + 1 == options.max_new_tokens);
    job.report(rows - static_cast<int64_t>(live.rows.size()), rows);
    if (ids.empty()) break;
    for (const int64_t row : live.rows) ++positions[static_cast<size_t>(row)];
    last = model.hidden(next_batch(ids, cache, model.device()), &cache);
  }

  return collect(live.responses);
}

}  // namespace prudent::models
