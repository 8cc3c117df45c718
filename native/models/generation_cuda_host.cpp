#include "models/generation_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "core/transfer.h"
#include "models/generation_rows.h"
#include "models/kv_cache.h"

namespace prudent::models {
namespace {

// Tokens between two looks of the host at what was drawn. Rows that have ended meanwhile compute a few tokens in vain.
constexpr int64_t kCheckEvery = 4;
// Caches are made for multiples of this, so that the next call finds one that fits.
constexpr int64_t kCapacityStep = 64;

// A larger cache is not kept for the next call: training needs the memory in between.
constexpr int64_t kKeptBytes = int64_t{1} << 30;

// What is recorded besides the tensors' addresses.
using GraphKey = std::tuple<int64_t, bool, double, int64_t, double, bool, bool>;

GraphKey key_of(int64_t bucket, const GenerateOptions& options, bool masks) {
  const kernels::SampleOptions& sampling = options.sampling;
  return {bucket, sampling.greedy, sampling.temperature, sampling.top_k, sampling.top_p, masks, options.record};
}

// What was drawn since the last look, on the CPU.
struct History {
  at::Tensor ids;               // [tokens, rows] int64
  at::Tensor logprobs, values;  // [tokens, rows] fp32, when recorded
};

// Recording a second time what has been seen to run: libraries have set themselves up by then.
struct Recorded {
  bool warm = false;
  std::unique_ptr<at::cuda::CUDAGraph> graph;
};

// The buffers of one model's generation and the graphs that work on them. Weights are updated in place, so graphs stay valid
// from one PPO step to the next.
class Decoder {
 public:
  Decoder(const Model& model, int64_t rows, int64_t capacity)
      : model_(model), rows_(rows), capacity_(capacity), cache_(model.config(), rows, capacity, model.dtype(), model.device()) {
    const auto longs = at::TensorOptions().dtype(at::kLong).device(model.device());
    ids_ = at::zeros({rows}, longs);
    positions_ = at::zeros({rows}, longs);
    keys_ = at::zeros({rows}, longs);
    history_ = at::zeros({kCheckEvery * rows}, longs);
    logprob_history_ = at::zeros({kCheckEvery * rows}, longs.dtype(at::kFloat));
    value_history_ = at::zeros({kCheckEvery * rows}, longs.dtype(at::kFloat));
    counter_ = at::zeros({1}, longs);
    seed_ = at::zeros({1}, longs);
    slots_ = at::arange(rows, longs);
  }

  [[nodiscard]] bool fits(int64_t rows, int64_t capacity) const { return rows <= rows_ && capacity <= capacity_; }

  // Prefills, and draws the first token of each row into the history.
  void begin(const PackedBatch& prompts, const std::vector<int64_t>& keys, const GenerateOptions& options) {
    const int64_t rows = prompts.rows();
    at::Tensor lengths = at::empty({rows}, at::kLong);
    for (int64_t row = 0; row < rows; ++row) lengths.mutable_data_ptr<int64_t>()[row] = prompts.lengths[static_cast<size_t>(row)];
    // Rows of a bucket that nobody uses begin at position 0 like an empty prompt.
    positions_.zero_();
    positions_.narrow(0, 0, rows).copy_(to_device(lengths, model_.device()));
    keys_.narrow(0, 0, rows).copy_(to_device(at::tensor(keys, at::kLong), model_.device()));
    seed_.copy_(to_device(at::tensor({static_cast<int64_t>(options.sampling.seed)}, at::kLong), model_.device()));
    forget_history();
    cache_.restart(rows);
    draw(model_.hidden(prompts, &cache_, {.rows = prompts.last_index()}), rows, options);
  }

  // The next token of the first `live` rows, into the history.
  void step(int64_t live, const GenerateOptions& options) {
    const int64_t bucket = row_bucket(live);
    cache_.follow_positions(bucket);
    Recorded& recorded = graphs_[key_of(bucket, options, masks_)];
    if (recorded.graph == nullptr && recorded.warm) recorded.graph = record(bucket, options);
    if (recorded.graph != nullptr) {
      recorded.graph->replay();
    } else {
      forward(bucket, options);
      recorded.warm = true;
    }
  }

  // What was drawn since the last look: the host waits for the device here.
  History read_history(int64_t tokens, bool record) {
    const auto read = [&](const at::Tensor& history) { return history.narrow(0, 0, tokens * rows_).view({tokens, rows_}).cpu(); };
    History history{read(history_), {}, {}};
    if (record) {
      history.logprobs = read(logprob_history_);
      history.values = read(value_history_);
    }
    forget_history();
    return history;
  }

  // The row in slot `from`, which holds `tokens` tokens, moves into slot `to`.
  void move_row(int64_t from, int64_t to, int64_t tokens) {
    cache_.copy_row(from, to, tokens);
    for (const at::Tensor& values : {ids_, positions_, keys_}) values.narrow(0, to, 1).copy_(values.narrow(0, from, 1));
  }

  // Before the least number of tokens no row may end: `masks` for a call that has such a number, whose first tokens are then
  // drawn with bar_ends(true).
  void use_mask(bool masks) { masks_ = masks; }
  void bar_ends(const GenerateOptions& options, bool barred) {
    if (!mask_.defined()) {
      mask_ = at::zeros({1, model_.config().vocab_size}, at::TensorOptions().dtype(model_.dtype()).device(model_.device()));
    }
    mask_.zero_();
    if (!barred) return;
    for (const int64_t end : options.eos_token_ids) {
      if (end >= 0 && end < mask_.size(1)) mask_.narrow(1, end, 1).fill_(-std::numeric_limits<double>::infinity());
    }
  }

  [[nodiscard]] int64_t bytes() const { return cache_.bytes(); }

 private:
  void forget_history() { counter_.zero_(); }

  // Draws at the rows' positions, where the tokens will stand when they are fed, from the states hidden [rows, hidden].
  void draw(const at::Tensor& hidden, int64_t rows, const GenerateOptions& options) {
    kernels::SampleOptions sampling = options.sampling;
    sampling.device_seed = seed_;
    const at::Tensor logits = model_.logits(hidden), allowed = masks_ ? logits + mask_ : logits;
    at::Tensor logprobs;
    const at::Tensor drawn = kernels::sample(allowed, keys_.narrow(0, 0, rows), positions_.narrow(0, 0, rows), sampling,
                                             options.record ? &logprobs : nullptr);
    const at::Tensor places = counter_ * rows_ + slots_.narrow(0, 0, rows);
    history_.index_copy_(0, places, drawn);
    if (options.record) {
      logprob_history_.index_copy_(0, places, logprobs);
      value_history_.index_copy_(0, places, model_.values(hidden));
    }
    counter_.add_(1);
    // A broken row is -1 in the history, which the host refuses; the next forward needs an id all the same.
    ids_.narrow(0, 0, rows).copy_(drawn.clamp_min(0));
  }

  void forward(int64_t rows, const GenerateOptions& options) {
    PackedBatch batch;
    batch.ids = ids_.narrow(0, 0, rows);
    batch.positions = positions_.narrow(0, 0, rows);
    batch.lengths.assign(static_cast<size_t>(rows), 1);
    for (int64_t row = 0; row < rows; ++row) batch.ends.push_back(row);
    batch.cu_seqlens = at::arange(rows + 1, at::kInt);
    const at::Tensor hidden = model_.hidden(batch, &cache_);
    positions_.narrow(0, 0, rows).add_(1);
    draw(hidden, rows, options);
  }

  // Recording does not run anything.
  std::unique_ptr<at::cuda::CUDAGraph> record(int64_t rows, const GenerateOptions& options) {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Graphs are played one after another on one stream and leave nothing behind but what the buffers hold: they share memory.
    // Other handles' threads may allocate meanwhile.
    graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      forward(rows, options);
    } catch (...) {
      try {
        graph->capture_end();
      } catch (...) {  // the first failure is the one to tell of
      }
      throw;
    }
    graph->capture_end();
    return graph;
  }

  const Model& model_;
  int64_t rows_, capacity_;
  KvCache cache_;
  at::Tensor ids_, positions_, keys_;           // [rows] int64: the token to feed next, where it stands, whose random numbers
  at::Tensor history_;                          // [kCheckEvery * rows] int64: draws
  at::Tensor logprob_history_, value_history_;  // [kCheckEvery * rows] fp32, when recorded
  at::Tensor counter_;                          // [1] int64: draws in the history
  at::Tensor seed_;                             // [1] int64
  at::Tensor slots_;                            // [rows] int64: 0, 1, 2 …
  at::Tensor mask_;                             // [1, vocab]: 0, or -infinity at the ends
  bool masks_ = false;
  c10::MempoolId_t pool_ = at::cuda::graph_pool_handle();
  std::map<GraphKey, Recorded> graphs_;
};

// Of one model; see Model::generation_state().
struct State {
  std::mutex mutex;
  std::unique_ptr<Decoder> decoder;
};

Decoder& decoder_for(State& state, const Model& model, int64_t rows, int64_t capacity) {
  const int64_t bucket = row_bucket(rows);
  if (state.decoder == nullptr || !state.decoder->fits(bucket, capacity)) {
    state.decoder.reset();  // its memory first
    state.decoder = std::make_unique<Decoder>(model, bucket, (capacity + kCapacityStep - 1) / kCapacityStep * kCapacityStep);
  }
  return *state.decoder;
}

// Takes over `tokens` draws of every live row and drops the rows that have ended.
void take(LiveRows& live, Decoder& decoder, int64_t tokens, const PackedBatch& prompts, const GenerateOptions& options,
          bool last) {
  const History drawn = decoder.read_history(tokens, options.record);
  std::vector<bool> ended(live.rows.size(), false);
  for (int64_t token = 0; token < tokens; ++token) {
    const at::Tensor ids = drawn.ids.select(0, token);
    for (size_t slot = 0; slot < live.rows.size(); ++slot) {
      if (ended[slot]) continue;  // what it computed since is of no use
      kernels::check_sampled(ids.narrow(0, static_cast<int64_t>(slot), 1));
      const int64_t id = ids.const_data_ptr<int64_t>()[slot];
      Response& response = live.response(slot);
      response.ids.push_back(static_cast<int32_t>(id));
      if (options.record) {
        const int64_t place = token * drawn.ids.size(1) + static_cast<int64_t>(slot);
        response.logprobs.push_back(drawn.logprobs.const_data_ptr<float>()[place]);
        response.values.push_back(drawn.values.const_data_ptr<float>()[place]);
      }
      ended[slot] = is_end(options, id);
    }
  }
  if (last) {
    live.rows.clear();
    return;
  }
  for (size_t slot = live.rows.size(); slot-- > 0;) {  // backwards: what moves into the slot has been looked at
    if (!ended[slot]) continue;
    const size_t from = live.rows.size() - 1;
    const auto row = static_cast<size_t>(live.rows[from]);
    if (from != slot) {
      const auto held =
          prompts.lengths[row] + static_cast<int64_t>(live.responses[row].ids.size()) - 1;  // the last is not fed yet
      decoder.move_row(static_cast<int64_t>(from), static_cast<int64_t>(slot), held);
    }
    live.rows[slot] = live.rows[from];
    live.rows.pop_back();
  }
}

// Recording needs a stream of its own; the caller's goes on when this is done.
class SideStream {
 public:
  explicit SideStream(const at::Device& device)
      : outer_(c10::cuda::getCurrentCUDAStream(device.index())),
        inner_(outer_ == c10::cuda::getDefaultCUDAStream(device.index()) ? c10::cuda::getStreamFromPool(false, device.index())
                                                                         : outer_) {
    if (inner_ != outer_) outer_.synchronize();
    guard_.reset_stream(inner_);
  }
  ~SideStream() {
    if (inner_ != outer_) finish();
  }
  void finish() const noexcept {
    try {
      inner_.synchronize();
    } catch (...) {  // whoever uses the results sees the failure
    }
  }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

 private:
  c10::cuda::CUDAStream outer_, inner_;
  c10::cuda::OptionalCUDAStreamGuard guard_;
};

bool graphs_wanted() {
  const char* value = std::getenv("PRUDENT_CUDA_GRAPHS");
  return value == nullptr || std::string(value) != "0";
}

}  // namespace

std::optional<Generated> generate_with_graphs(const Model& model, const PackedBatch& prompts,
                                              const std::vector<int64_t>& row_keys, const GenerateOptions& options,
                                              const Job& job) {
  if (!graphs_wanted()) return std::nullopt;
  const std::shared_ptr<void> shared = model.generation_state([] { return std::make_shared<State>(); });
  State& state = *static_cast<State*>(shared.get());
  const std::unique_lock lock(state.mutex, std::try_to_lock);
  if (!lock.owns_lock()) return std::nullopt;

  const at::NoGradGuard no_grad;
  const SideStream stream(model.device());
  const int64_t rows = prompts.rows();
  const int64_t longest = *std::max_element(prompts.lengths.begin(), prompts.lengths.end());
  Decoder& decoder = decoder_for(state, model, rows, longest + options.max_new_tokens);
  LiveRows live(rows);
  const bool masks = options.min_new_tokens > 0 && !options.eos_token_ids.empty();
  try {
    decoder.use_mask(masks);
    if (masks) decoder.bar_ends(options, true);
    decoder.begin(prompts, row_keys, options);
    int64_t unread = 1;
    for (int64_t drawn = 1; !live.rows.empty(); ++drawn) {
      const bool last = drawn == options.max_new_tokens;
      if (last || unread == kCheckEvery) {
        take(live, decoder, unread, prompts, options, last);
        unread = 0;
        job.report(rows - static_cast<int64_t>(live.rows.size()), rows);
      }
      if (live.rows.empty()) break;
      job.poll();
      if (masks && drawn == options.min_new_tokens) decoder.bar_ends(options, false);
      decoder.step(static_cast<int64_t>(live.rows.size()), options);
      ++unread;
    }
  } catch (...) {
    // Whatever was recorded or half done is not to be trusted; and a graph that still runs needs its memory.
    stream.finish();
    state.decoder.reset();
    throw;
  }
  if (decoder.bytes() > kKeptBytes) state.decoder.reset();
  return collect(live.responses);
}

}  // namespace prudent::models
