#include "binding/model_handle.h"

#include "binding/feature_cache_handle.h"
#include "binding/generation_options.h"
#include "binding/process_group_handle.h"
#include "core/device.h"
#include "core/io.h"
#include "core/safetensors.h"
#include "training/inference.h"

namespace prudent::binding {

using models::Task;

ModelState::ModelState(std::shared_ptr<models::Model> given) : model(std::move(given)), strand(make_strand(model->device())) {
  refresh_heads();
}

ModelState::Heads ModelState::heads() const {
  const std::lock_guard lock(heads_mutex_);
  return heads_;
}

void ModelState::check_no_trainer() const {
  const int64_t trainers = trainer_ticket.use_count() - 1;
  PRUDENT_CHECK(trainers == 0, "E_BUSY", "model", "no open trainer of its weights (dispose of it first)",
                std::to_string(trainers));
}

int64_t ModelState::parameter_count() const {
  const std::lock_guard lock(heads_mutex_);
  return parameter_count_;
}

void ModelState::refresh_heads() {
  int64_t parameters = 0;
  for (const auto& [name, parameter] : model->parameters()) parameters += parameter.numel();
  Heads now{.value_head = model->has_value_head()};
  if (model->task() == Task::SequenceClassification) now.labels = model->config().num_labels;
  if (const auto& readout = model->readout()) {
    now.labels = readout->heads;
    now.spread = readout->spread;
  }
  const std::lock_guard lock(heads_mutex_);
  heads_ = now;
  parameter_count_ = parameters;
}

namespace {

const std::vector<std::pair<const char*, Task>> kTasks = {{"causal-lm", Task::CausalLm},
                                                          {"sequence-classification", Task::SequenceClassification}};

Napi::Value optional_id(Napi::Env env, const std::optional<int64_t>& id) {
  return id ? Napi::Value(Napi::Number::New(env, static_cast<double>(*id))) : Napi::Value(env.Null());
}

models::LoadOptions read_load_options(const Napi::Value& value) {
  Options options(value, "options");
  models::LoadOptions result;
  result.task = options.choice<Task>("task", std::nullopt, kTasks);
  result.device = parse_device(options.text("device"));
  result.dtype = parse_dtype(options.text("dtype"), result.device);
  result.allow_new_head = options.flag("allowNewHead", false);
  result.num_labels = options.integer("numLabels", -1, 1, 1 << 20);
  result.seed = static_cast<uint64_t>(options.integer("seed", 0, 0));
  result.int8 = options.flag("int8", false);
  options.finish();
  return result;
}

// Forwards that may share what rows begin with.
struct PrefixOptions {
  int64_t batch_tokens;
  bool share_prefixes;
  training::Group group;  // of score and cacheFeatures: the ranks that share the work
};

PrefixOptions read_prefix_options(Options& options, bool shared_work) {
  return {.batch_tokens = read_batch_tokens(options),
          .share_prefixes = options.flag("sharePrefixes", true),
          .group = shared_work ? read_group(options) : nullptr};
}

PrefixOptions read_prefix_options(const Napi::Value& value, bool shared_work = false) {
  Options options(value, "options");
  const PrefixOptions result = read_prefix_options(options, shared_work);
  options.finish();
  return result;
}

// Layers of a model, 1 for the first; absent: the last alone.
std::vector<int64_t> read_layers(Options& options) {
  if (!options.has("layers")) return {};
  const std::vector<int32_t> layers = options.integers("layers");
  return {layers.begin(), layers.end()};
}

// What a readout's weight is of; the weight itself comes from a file or an array.
models::Readout read_readout(Options& options, const models::ModelConfig& config) {
  models::Readout readout;
  readout.heads = options.integer("heads", std::nullopt, 1, 1 << 20);
  readout.spread = options.integer("spread", 0, 0, 1 << 20);
  readout.layers = read_layers(options);
  if (readout.layers.empty()) readout.layers = {config.layers};
  return readout;
}

void put_readout(ModelState& state, std::optional<models::Readout> readout) {
  state.check_no_trainer();
  const std::unique_lock lock(state.weights);
  state.model->set_readout(std::move(readout));
  state.refresh_heads();
}

constexpr const char* kReadout = "readout";

Napi::Value wrap_model(Napi::Env env, std::shared_ptr<ModelState>& state) { return ModelHandle::wrap(env, std::move(state)); }

Napi::Value tensor_result(Napi::Env env, at::Tensor& tensor) { return to_float32_array(env, tensor); }

}  // namespace

ModelHandle::Methods ModelHandle::methods() {
  return {
      thrown_method<&ModelHandle::info>("info"),
      thrown_method<&ModelHandle::training_memory>("trainingMemory"),
      promised_method<&ModelHandle::score>("score"),
      promised_method<&ModelHandle::computed_tokens>("computedTokens"),
      promised_method<&ModelHandle::logprobs>("logprobs"),
      promised_method<&ModelHandle::generate>("generate"),
      promised_method<&ModelHandle::hidden_states>("hiddenStates"),
      promised_method<&ModelHandle::logits>("logits"),
      promised_method<&ModelHandle::cache_features>("cacheFeatures"),
      promised_method<&ModelHandle::score_weight>("scoreWeight"),
      promised_method<&ModelHandle::set_score_weight>("setScoreWeight"),
      promised_method<&ModelHandle::set_readout>("setReadout"),
      promised_method<&ModelHandle::load_readout>("loadReadout"),
      promised_method<&ModelHandle::save_readout>("saveReadout"),
      promised_method<&ModelHandle::set_prefix>("setPrefix"),
      promised_method<&ModelHandle::add_value_head>("addValueHead"),
      promised_method<&ModelHandle::clone>("clone"),
      promised_method<&ModelHandle::save>("save"),
  };
}

Napi::Value ModelHandle::info(const Napi::CallbackInfo& info) {
  const auto state = open();
  const models::Model& model = *state->model;
  const models::ModelConfig& config = model.config();
  const ModelState::Heads heads = state->heads();
  Napi::Object result = Napi::Object::New(info.Env());
  const auto number = [&](const char* key, int64_t value) { result.Set(key, static_cast<double>(value)); };
  result.Set("architecture", models::architecture_name(config.architecture));
  for (const auto& [name, task] : kTasks) {
    if (task == model.task()) result.Set("task", name);
  }
  result.Set("dtype", dtype_name(model.dtype()));
  result.Set("int8", model.is_quantised());
  result.Set("device", device_name(model.device()));
  number("vocabSize", config.vocab_size);
  number("hiddenSize", config.hidden_size);
  number("layers", config.layers);
  number("heads", config.heads);
  number("kvHeads", config.kv_heads);
  number("headDim", config.head_dim);
  number("maxPositions", config.max_positions);
  number("numLabels", heads.labels);
  number("spread", heads.spread);
  result.Set("hasValueHead", heads.value_head);
  number("parameterCount", state->parameter_count());
  number("parameterBytes", model.parameter_bytes());
  result.Set("bosTokenId", optional_id(info.Env(), config.bos_token_id));
  Napi::Array eos = Napi::Array::New(info.Env());
  for (const int64_t id : config.eos_token_ids) eos.Set(eos.Length(), static_cast<double>(id));
  result.Set("eosTokenIds", eos);
  result.Set("padTokenId", optional_id(info.Env(), config.pad_token_id));
  return result;
}

Napi::Value ModelHandle::training_memory(const Napi::CallbackInfo& info) {
  const models::Model& model = *open()->model;
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("blockBytes", static_cast<double>(model.block_bytes(1, 1)));
  const std::optional<int64_t> free = free_device_memory(model.device());
  result.Set("freeBytes", free ? Napi::Value::From(info.Env(), static_cast<double>(*free)) : info.Env().Null());
  return result;
}

Napi::Value ModelHandle::over_rows(const Napi::CallbackInfo& info, RowFunction function) {
  auto rows = read_rows(info[0], "rows");
  Options options(info[1], "options");
  const int64_t batch_tokens = read_batch_tokens(options);
  options.finish();
  return submit(
      info, 2,
      [rows = std::move(rows), batch_tokens, function](ModelState& state, const Job& job) {
        return function(*state.model, rows, batch_tokens, job);
      },
      tensor_result);
}

Napi::Value ModelHandle::over_rows(const Napi::CallbackInfo& info, PrefixRowFunction function) {
  auto rows = read_rows(info[0], "rows");
  const PrefixOptions options = read_prefix_options(info[1]);
  return submit(
      info, 2,
      [rows = std::move(rows), options, function](ModelState& state, const Job& job) {
        return function(*state.model, rows, options.batch_tokens, job, options.share_prefixes);
      },
      tensor_result);
}

Napi::Value ModelHandle::computed_tokens(const Napi::CallbackInfo& info) {
  auto rows = read_rows(info[0], "rows");
  const PrefixOptions options = read_prefix_options(info[1]);
  return submit(
      info, 2,
      [rows = std::move(rows), options](ModelState& state, const Job&) {
        return training::computed_tokens(*state.model, rows, options.batch_tokens, options.share_prefixes);
      },
      [](Napi::Env env, int64_t tokens) { return Napi::Number::New(env, static_cast<double>(tokens)); });
}

Napi::Value ModelHandle::score(const Napi::CallbackInfo& info) {
  auto rows = read_rows(info[0], "rows");
  const PrefixOptions options = read_prefix_options(info[1], /*shared_work=*/true);
  return submit(
      info, 2,
      [rows = std::move(rows), options](ModelState& state, const Job& job) {
        return training::score_rows(*state.model, rows, options.batch_tokens, job, options.share_prefixes, options.group);
      },
      tensor_result);
}
Napi::Value ModelHandle::logprobs(const Napi::CallbackInfo& info) { return over_rows(info, training::logprob_rows); }
Napi::Value ModelHandle::hidden_states(const Napi::CallbackInfo& info) { return over_rows(info, training::hidden_rows); }
Napi::Value ModelHandle::logits(const Napi::CallbackInfo& info) { return over_rows(info, training::logit_rows); }

Napi::Value ModelHandle::generate(const Napi::CallbackInfo& info) {
  auto prompts = read_rows(info[0], "prompts");
  Options options(info[1], "options");
  auto parsed = read_generate_options(options, prompts.rows());
  options.finish();
  return submit(
      info, 2,
      [prompts = std::move(prompts), parsed = std::move(parsed)](ModelState& state, const Job& job) {
        return training::generate_rows(*state.model, prompts, parsed.row_keys, parsed.generate, parsed.batch_tokens, job);
      },
      to_token_rows);
}

Napi::Value ModelHandle::cache_features(const Napi::CallbackInfo& info) {
  auto rows = read_rows(info[0], "rows");
  Options given(info[1], "options");
  const PrefixOptions options = read_prefix_options(given, /*shared_work=*/true);
  const std::vector<int64_t> layers = read_layers(given);
  given.finish();
  return submit(
      info, 2,
      [rows = std::move(rows), options, layers](ModelState& state, const Job& job) {
        return std::make_shared<FeatureCacheState>(training::FeatureCache::compute(
            *state.model, rows, options.batch_tokens, job, options.share_prefixes, layers, options.group));
      },
      wrap_feature_cache);
}

Napi::Value ModelHandle::score_weight(const Napi::CallbackInfo& info) {
  return submit(
      info, 0,
      [](ModelState& state, const Job&) { return state.model->score_weight().detach().to(at::kCPU, at::kFloat).contiguous(); },
      tensor_result);
}

Napi::Value ModelHandle::set_score_weight(const Napi::CallbackInfo& info) {
  const int64_t heads = read_integer(info[1], "heads", 1, 1 << 20);
  const int64_t hidden = open()->model->config().hidden_size;
  auto weight = to_tensor(read_floats(info[0], "weight", heads * hidden), {heads, hidden});
  return submit(info, 2, [weight = std::move(weight)](ModelState& state, const Job&) {
    state.check_no_trainer();
    const std::unique_lock lock(state.weights);
    state.model->set_score_weight(weight);
    state.refresh_heads();
  });
}

Napi::Value ModelHandle::set_readout(const Napi::CallbackInfo& info) {
  const models::ModelConfig& config = open()->model->config();
  std::optional<models::Readout> readout;
  if (!info[0].IsNull()) {
    Options options(info[1], "options");
    readout = read_readout(options, config);
    options.finish();
    const int64_t outputs = readout->heads + readout->spread;
    const int64_t width = static_cast<int64_t>(readout->layers.size()) * config.hidden_size;
    readout->weight = to_tensor(read_floats(info[0], "weight", outputs * width), {outputs, width});
  }
  return submit(info, 2, [readout = std::move(readout)](ModelState& state, const Job&) { put_readout(state, readout); });
}

Napi::Value ModelHandle::load_readout(const Napi::CallbackInfo& info) {
  const std::string file = read_string(info[0], "file");
  Options options(info[1], "options");
  const models::Readout shape = read_readout(options, open()->model->config());
  options.finish();
  return submit(info, 2, [file, shape](ModelState& state, const Job&) {
    const auto source = SafetensorsFile::open(file);
    PRUDENT_CHECK(source->contains(kReadout), "E_MISSING_TENSOR", file, "tensor readout", "a file without it");
    models::Readout readout = shape;
    readout.weight = source->tensor(kReadout);
    put_readout(state, std::move(readout));
  });
}

Napi::Value ModelHandle::save_readout(const Napi::CallbackInfo& info) {
  const std::string file = read_string(info[0], "file");
  return submit(info, 1, [file](ModelState& state, const Job& job) {
    const auto& readout = state.model->readout();
    PRUDENT_CHECK(readout.has_value(), "E_STATE", "model", "a readout", "none");
    write_safetensors(file, {{kReadout, readout->weight}}, {}, job);
  });
}

Napi::Value ModelHandle::set_prefix(const Napi::CallbackInfo& info) {
  auto ids = read_integers(info[0], "ids");
  return submit(info, 1, [ids = std::move(ids)](ModelState& state, const Job&) { state.model->set_prefix(ids); });
}

Napi::Value ModelHandle::add_value_head(const Napi::CallbackInfo& info) {
  const auto seed = static_cast<uint64_t>(read_integer(info[0], "seed", 0));
  return submit(info, 1, [seed](ModelState& state, const Job&) {
    state.check_no_trainer();
    const std::unique_lock lock(state.weights);
    state.model->add_value_head(seed);
    state.refresh_heads();
  });
}

Napi::Value ModelHandle::clone(const Napi::CallbackInfo& info) {
  return submit(
      info, 0, [](ModelState& state, const Job&) { return std::make_shared<ModelState>(state.model->clone()); }, wrap_model);
}

Napi::Value ModelHandle::save(const Napi::CallbackInfo& info) {
  const std::string folder = read_string(info[0], "folder");
  Options options(info[1], "options");
  const int64_t max_shard_bytes = options.integer("maxShardBytes", 5'000'000'000, 1);
  const bool sync = options.flag("sync", true);
  options.finish();
  return submit(info, 2, [folder, max_shard_bytes, sync](ModelState& state, const Job& job) {
    const UnsyncedWrites unsynced(!sync);
    state.model->save(folder, max_shard_bytes, job);
  });
}

Napi::Value load_model(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const std::string folder = read_string(info[0], "folder");
    const models::LoadOptions options = read_load_options(info[1]);
    return submit(
        info.Env(), free_target(options.device), info[2],
        [folder, options](const Job& job) { return std::make_shared<ModelState>(models::Model::load(folder, options, job)); },
        wrap_model);
  });
}

Napi::Value create_model(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const std::string config_json = read_string(info[0], "configJson");
    const models::LoadOptions options = read_load_options(info[1]);
    return submit(
        info.Env(), free_target(options.device), info[2],
        [config_json, options](const Job&) { return std::make_shared<ModelState>(models::Model::create(config_json, options)); },
        wrap_model);
  });
}

Napi::Value exact_kl(const Napi::CallbackInfo& info) {
  return promised(info.Env(), [&] {
    const auto policy = ModelHandle::read(info[0], "policy");
    const auto reference = ModelHandle::read(info[1], "reference");
    auto rows = read_rows(info[2], "rows");
    auto prompt_lengths = read_integers(info[3], "promptLengths");
    Options options(info[4], "options");
    const int64_t batch_tokens = read_batch_tokens(options);
    options.finish();
    return submit(
        info.Env(), {policy->strand, nullptr}, info[5],
        [policy, reference, rows = std::move(rows), prompt_lengths = std::move(prompt_lengths), batch_tokens](const Job& job) {
          const std::shared_lock lock(reference->weights);
          return training::exact_kl(*policy->model, *reference->model, rows, prompt_lengths, batch_tokens, job);
        },
        [](Napi::Env env, const std::vector<float>& sums) { return to_float32_array(env, sums); });
  });
}

}  // namespace prudent::binding
