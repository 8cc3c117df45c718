#include "models/model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>

#include <filesystem>

#include "core/device.h"
#include "core/error.h"
#include "kernels/linear/linear.h"
#include "kernels/multi_head/multi_head.h"
#include "models/forward_pass.h"
#include "models/gpt2.h"
#include "models/kv_cache.h"
#include "models/parameter_source.h"
#include "models/rotary_decoder.h"

namespace prudent::models {
namespace {

constexpr const char* kLmHead = "lm_head.weight";
constexpr const char* kScore = "score.weight";
constexpr const char* kValueWeight = "v_head.summary.weight";
constexpr const char* kValueBias = "v_head.summary.bias";

void check_dtype(at::ScalarType dtype) {
  PRUDENT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "E_DTYPE", "dtype", "float32 or bfloat16", dtype_name(dtype));
}

}  // namespace

Model::Model(ModelConfig config, Task task, at::ScalarType dtype) : config_(std::move(config)), task_(task), dtype_(dtype) {}

std::shared_ptr<Model> Model::build(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source) {
  const at::NoGradGuard no_grad;
  if (config.architecture == Architecture::Gpt2) return std::make_shared<Gpt2>(std::move(config), task, dtype, source);
  return std::make_shared<RotaryDecoder>(std::move(config), task, dtype, source);
}

std::shared_ptr<Model> Model::load(const std::string& folder, const LoadOptions& options, const Job& job) {
  check_dtype(options.dtype);
  ModelConfig config = read_model_config(folder);
  FolderSource source(folder, config, options, job);
  if (options.num_labels >= 0) {
    PRUDENT_CHECK(options.num_labels >= 1, "E_RANGE", "numLabels", "at least 1", std::to_string(options.num_labels));
    config.num_labels = options.num_labels;
  }
  auto model = build(std::move(config), options.task, options.dtype, source);
  source.finish();
  if (options.int8) model->quantise();
  return model;
}

std::shared_ptr<Model> Model::create(const std::string& config_json, const LoadOptions& options) {
  check_dtype(options.dtype);
  ModelConfig config = parse_model_config(config_json, "config");
  if (options.num_labels >= 0) {
    PRUDENT_CHECK(options.num_labels >= 1, "E_RANGE", "numLabels", "at least 1", std::to_string(options.num_labels));
    config.num_labels = options.num_labels;
  }
  RandomSource source(config, options.seed, options.device);
  return build(std::move(config), options.task, options.dtype, source);
}

std::shared_ptr<Model> Model::clone() const {
  CloneSource source(*this);
  auto copy = build(config_, task_, dtype_, source);
  copy->readout_ = readout_;  // never written in place
  copy->set_prefix(prefix());
  if (quantised_) copy->quantise();
  return copy;
}

void Model::keep(const std::string& name, const at::Tensor& tensor) {
  for (auto& [existing, slot] : parameters_) {
    if (existing == name) {
      slot = tensor;
      return;
    }
  }
  parameters_.emplace_back(name, tensor);
}

at::Tensor Model::take(ParameterSource& source, const std::string& name, std::vector<int64_t> shape, Init init) {
  const at::ScalarType dtype = init == Init::ValueHead ? at::kFloat : dtype_;
  at::Tensor tensor = source.get({name, shape, init, dtype});
  parameters_.emplace_back(name, tensor);
  return tensor;
}

void Model::take_heads(ParameterSource& source, const at::Tensor& embedding) {
  if (task_ == Task::SequenceClassification) {
    score_weight_ = take(source, kScore, {config_.num_labels, config_.hidden_size}, Init::Head);
    return;
  }
  if (!config_.tie_word_embeddings) {
    lm_weight_ = take(source, kLmHead, {config_.vocab_size, config_.hidden_size}, Init::Normal);
  } else {
    lm_weight_ = embedding;
    // A file may hold the tied weight twice. When the two differ the file wins over its config, as in transformers.
    if (source.has(kLmHead)) {
      const at::Tensor stored = take(source, kLmHead, {config_.vocab_size, config_.hidden_size}, Init::Normal);
      if (at::equal(stored, embedding)) {
        parameters_.pop_back();
      } else {
        lm_weight_ = stored;
        config_.tie_word_embeddings = false;
      }
    }
  }
  if (source.has(kValueWeight)) {
    value_weight_ = take(source, kValueWeight, {1, config_.hidden_size}, Init::ValueHead);
    value_bias_ = take(source, kValueBias, {1}, Init::ValueHead);
  }
}

at::Device Model::device() const { return parameters_.front().second.device(); }
at::ScalarType Model::dtype() const { return dtype_; }

int64_t Model::parameter_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : parameters_) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

at::Tensor Model::logits(const at::Tensor& hidden) const { return kernels::linear(hidden, lm_weight()); }

int64_t Model::checkpointed_blocks(const ForwardPass& pass, const Checkpointing& checkpoint) const {
  if (!checkpoint.enabled) return 0;
  const int64_t tokens = pass.positions(false).size(0), read = pass.positions(true).size(0);
  int64_t left = checkpoint.activation_bytes.value_or(block_bytes(tokens, tokens));
  int64_t blocks = config_.layers;
  for (; blocks > 0; --blocks) {
    left -= block_bytes(tokens, blocks == config_.layers ? read : tokens);
    if (left < 0) break;
  }
  return blocks;
}

at::Tensor Model::last_hidden(const PackedBatch& batch, const Checkpointing& checkpoint) const {
  return hidden(batch, nullptr, {.rows = batch.last_index(), .checkpoint = checkpoint});
}

at::Tensor Model::scores(const PackedBatch& batch, const Checkpointing& checkpoint) const {
  (void)score_weight();  // fail before the forward
  const at::Tensor last = last_hidden(batch, checkpoint);
  return kernels::multi_head(last, at::arange(last.size(0), last.options().dtype(at::kLong)), score_weight_);
}

at::Tensor Model::layer_features(const PackedBatch& batch, const std::vector<int64_t>& layers) const {
  return hidden(batch, nullptr, {.rows = batch.last_index(), .layers = layers});
}

at::Tensor Model::readout_scores(const PackedBatch& batch) const {
  PRUDENT_CHECK(readout_.has_value(), "E_STATE", "model", "a readout", "none");
  return at::linear(layer_features(batch, readout_->layers).to(at::kFloat), readout_->weight);
}

at::Tensor Model::values(const at::Tensor& hidden) const {
  PRUDENT_CHECK(has_value_head(), "E_NO_HEAD", "model", "a policy with a value head", "none");
  return at::linear(hidden.to(at::kFloat), value_weight_, value_bias_).squeeze(-1);
}

const at::Tensor& Model::lm_weight() const {
  PRUDENT_CHECK(lm_weight_.defined(), "E_NO_HEAD", "model", "a causal language model", "a sequence classifier");
  return lm_weight_;
}

const at::Tensor& Model::score_weight() const {
  PRUDENT_CHECK(score_weight_.defined(), "E_NO_HEAD", "model", "a sequence classifier", "a causal language model");
  return score_weight_;
}

void Model::set_score_weight(const at::Tensor& weight) {
  const bool grad = score_weight().requires_grad();
  PRUDENT_CHECK(weight.dim() == 2 && weight.size(0) >= 1 && weight.size(1) == config_.hidden_size, "E_SHAPE", "weight",
                "[n, " + std::to_string(config_.hidden_size) + "]", c10::str(weight.sizes()));
  // Always a copy: the caller's tensor stays the caller's.
  score_weight_ =
      weight.detach().to(at::TensorOptions().dtype(dtype_).device(device()), /*non_blocking=*/false, /*copy=*/true).contiguous();
  score_weight_.set_requires_grad(grad);
  keep(kScore, score_weight_);
  config_.num_labels = weight.size(0);
  readout_.reset();
}

void Model::set_readout(std::optional<Readout> readout) {
  (void)score_weight();
  if (readout) {
    check_layers(readout->layers, config_.layers);
    const int64_t outputs = readout->heads + readout->spread;
    const int64_t width = static_cast<int64_t>(readout->layers.size()) * config_.hidden_size;
    const at::Tensor& weight = readout->weight;
    PRUDENT_CHECK(readout->heads >= 1 && readout->spread >= 0 && width > 0, "E_RANGE", "readout",
                  "at least one head, no fewer than 0 rows of a spread and at least one layer",
                  c10::str(readout->heads, ", ", readout->spread, ", ", readout->layers.size()));
    PRUDENT_CHECK(weight.dim() == 2 && weight.size(0) == outputs && weight.size(1) == width, "E_SHAPE", "readout",
                  c10::str("[", outputs, ", ", width, "]"), c10::str(weight.sizes()));
    PRUDENT_CHECK(weight.isfinite().all().item<bool>(), "E_NON_FINITE", "readout", "finite weights", "a NaN or an infinity");
    readout->weight =
        weight.detach().to(at::TensorOptions().dtype(at::kFloat).device(device()), false, /*copy=*/true).contiguous();
  }
  readout_ = std::move(readout);
}

bool Model::has_value_head() const { return value_weight_.defined(); }

void Model::add_value_head(uint64_t seed) {
  const bool grad = lm_weight().requires_grad();
  RandomSource source(config_, seed, device());
  const std::vector<int64_t> weight_shape{1, config_.hidden_size};
  const std::vector<int64_t> bias_shape{1};
  value_weight_ = source.get({kValueWeight, weight_shape, Init::ValueHead, at::kFloat});
  value_bias_ = source.get({kValueBias, bias_shape, Init::ValueHead, at::kFloat});
  value_weight_.set_requires_grad(grad);
  value_bias_.set_requires_grad(grad);
  keep(kValueWeight, value_weight_);
  keep(kValueBias, value_bias_);
}

void Model::set_prefix(std::vector<int32_t> ids) {
  const auto length = static_cast<int64_t>(ids.size());
  PRUDENT_CHECK(length < config_.max_positions, "E_TOO_LONG", "prefix",
                "fewer than " + std::to_string(config_.max_positions) + " tokens", std::to_string(length));
  for (size_t i = 0; i < ids.size(); ++i) {
    PRUDENT_CHECK(ids[i] >= 0 && ids[i] < config_.vocab_size, "E_RANGE", "prefix[" + std::to_string(i) + "]",
                  "a token id in [0, " + std::to_string(config_.vocab_size) + ")", std::to_string(ids[i]));
  }
  const std::lock_guard lock(prefix_mutex_);
  if (ids == prefix_) return;
  prefix_ = std::move(ids);
  kept_prefix_ = nullptr;
}

std::vector<int32_t> Model::prefix() const {
  const std::lock_guard lock(prefix_mutex_);
  return prefix_;
}

int64_t Model::parameter_version() const {
  int64_t version = 0;
  for (const auto& [name, tensor] : parameters_) version += tensor._version();
  return version;
}

std::shared_ptr<const KvCache> Model::kept_prefix() const {
  const std::lock_guard lock(prefix_mutex_);
  if (prefix_.empty()) return nullptr;
  const int64_t version = parameter_version();
  if (kept_prefix_ == nullptr || kept_version_ != version) {
    kept_prefix_ = compute_prefix();
    kept_version_ = version;
  }
  return kept_prefix_;
}

std::shared_ptr<const KvCache> Model::compute_prefix() const {
  const at::NoGradGuard no_grad;
  const auto length = static_cast<int32_t>(prefix_.size());
  auto cache = std::make_shared<KvCache>(config_, 1, length, dtype_, device());
  const PackedBatch batch = pack(prefix_.data(), length, &length, 1, config_.vocab_size, config_.max_positions, device());
  static_cast<void>(hidden(batch, cache.get(), {.rows = batch.last_index()}));  // of its own last token nothing more is wanted
  return cache;
}

std::shared_ptr<void> Model::generation_state(const std::function<std::shared_ptr<void>()>& make) const {
  const std::lock_guard lock(generation_mutex_);
  if (generation_state_ == nullptr) generation_state_ = make();
  return generation_state_;
}

NamedTensors Model::parameters() const { return parameters_; }

void Model::quantise() {
  PRUDENT_CHECK(device().is_cpu(), "E_DEVICE", "int8", "a model on the CPU", device().str());
  if (quantised_) return;
  const at::NoGradGuard no_grad;
  quantise_blocks();
  quantised_ = true;
}

void Model::set_requires_grad(bool value) {
  PRUDENT_CHECK(!value || !quantised_, "E_STATE", "model", "a model that can be trained", "one in int8");
  for (auto& [name, tensor] : parameters_) tensor.set_requires_grad(value);
}

void Model::save(const std::string& folder, int64_t max_shard_bytes, const Job& job) const {
  namespace fs = std::filesystem;
  const bool classifier = task_ == Task::SequenceClassification;
  const auto write = [&](const std::string& target) {
    const fs::path root(target);
    write_text_file((root / "config.json").string(), write_model_config(config_, classifier, dtype_name(dtype_)));
    if (!config_.generation_source.is_null()) {
      write_text_file((root / "generation_config.json").string(), config_.generation_source.dump(2) + "\n");
    }
    write_safetensors_folder(target, parameters_, max_shard_bytes, job);
  };
  std::error_code ignored;
  if (fs::is_directory(folder, ignored)) {
    write(folder);
  } else {
    create_folder_atomically(folder, write);
  }
}

}  // namespace prudent::models
