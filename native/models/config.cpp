#include "models/config.h"

#include <cmath>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/io.h"

namespace prudent::models {
namespace {

namespace fs = std::filesystem;
using kernels::Activation;

// Reads members of one object; null counts as absent, as it does in transformers.
class Reader {
 public:
  Reader(const Json& json, std::string source) : json_(json), source_(std::move(source)) {}

  [[nodiscard]] std::string label(std::string_view key) const { return source_ + ": " + std::string(key); }
  [[nodiscard]] const Json* find(std::string_view key) const {
    const Json* value = json_.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  [[nodiscard]] int64_t integer(std::string_view key, int64_t fallback, int64_t low, int64_t high) const {
    const Json* value = find(key);
    const int64_t result = value == nullptr ? fallback : value->as_int(label(key));
    PRUDENT_CHECK(result >= low && result <= high, "E_RANGE", label(key),
                  "an integer in [" + std::to_string(low) + ", " + std::to_string(high) + "]", std::to_string(result));
    return result;
  }
  [[nodiscard]] double number(std::string_view key, double fallback, double low, double high) const {
    const Json* value = find(key);
    const double result = value == nullptr ? fallback : value->as_number(label(key));
    PRUDENT_CHECK(result >= low && result <= high, "E_RANGE", label(key),
                  "a number in [" + std::to_string(low) + ", " + std::to_string(high) + "]", std::to_string(result));
    return result;
  }
  [[nodiscard]] bool boolean(std::string_view key, bool fallback) const {
    const Json* value = find(key);
    return value == nullptr ? fallback : value->as_bool(label(key));
  }
  [[nodiscard]] std::string text(std::string_view key, const std::string& fallback) const {
    const Json* value = find(key);
    return value == nullptr ? fallback : value->as_string(label(key));
  }
  // An integer or a list of integers; empty when absent.
  [[nodiscard]] std::vector<int64_t> integers(std::string_view key) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array()) return {value->as_int(label(key))};
    std::vector<int64_t> result;
    for (const Json& item : value->as_array(label(key))) result.push_back(item.as_int(label(key)));
    return result;
  }
  // A token id, or none; transformers knows -1 as none.
  [[nodiscard]] std::optional<int64_t> token(std::string_view key) const {
    const auto all = integers(key);
    if (all.empty() || all.front() < 0) return std::nullopt;
    return all.front();
  }
  [[noreturn]] void unsupported(std::string_view key, const std::string& expected, const std::string& received) const {
    fail("E_UNSUPPORTED", label(key), expected, received);
  }

 private:
  const Json& json_;
  std::string source_;
};

constexpr int64_t kMaxSize = int64_t{1} << 24;  // of a vocabulary, a width, a context: far above any model, far below overflow

Activation named_activation(const Reader& reader, const char* key, const std::string& name) {
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast" || name == "gelu_python_tanh" ||
      name == "gelu_accurate") {
    return Activation::GeluTanh;
  }
  if (name == "gelu" || name == "gelu_python") return Activation::GeluExact;
  if (name == "silu" || name == "swish") return Activation::Silu;
  reader.unsupported(key, "gelu, gelu_new, gelu_pytorch_tanh or silu", "\"" + name + "\"");
}

// The released Gemma files say hidden_act "gelu" and mean the tanh approximation. transformers 4 then took hidden_activation
// where it was given; transformers 5 reads hidden_act alone, and knows exact GELU as "gelu_python".
Activation gemma_activation(const Reader& reader) {
  const bool old_writer = reader.text("transformers_version", "4").rfind("4", 0) == 0;
  if (old_writer && reader.find("hidden_activation") != nullptr) {
    return named_activation(reader, "hidden_activation", reader.text("hidden_activation", ""));
  }
  const std::string name = reader.text("hidden_act", "gelu_pytorch_tanh");
  return name == "gelu" ? Activation::GeluTanh : named_activation(reader, "hidden_act", name);
}

void require_whole_rotary(const Reader& reader, double share) {
  if (share != 1.0) reader.unsupported("partial_rotary_factor", "1", std::to_string(share));
}

RopeConfig read_rope(const Reader& reader, const ModelConfig& config) {
  const Json* rope = reader.find("rope_scaling");  // where both are given, transformers takes the older one
  const char* key = "rope_scaling";
  if (rope == nullptr || rope->as_object(reader.label(key)).empty()) {
    rope = reader.find("rope_parameters");
    key = "rope_parameters";
  }
  RopeConfig result;
  result.theta = reader.number("rope_theta", result.theta, 1e-3, 1e12);
  const double share = reader.number("partial_rotary_factor", 1.0, 0, 1);
  if (rope == nullptr) {
    require_whole_rotary(reader, share);
    return result;
  }
  for (const auto& [name, value] : rope->as_object(reader.label(key))) {
    if (value.is_object()) reader.unsupported(key, "one set of parameters for all layers", "one for " + name);
  }
  const Reader inner(*rope, reader.label(key));
  require_whole_rotary(reader, inner.number("partial_rotary_factor", share, 0, 1));
  result.theta = inner.number("rope_theta", result.theta, 1e-3, 1e12);
  const std::string type = inner.text("rope_type", inner.text("type", "default"));
  if (type == "linear") {
    result.kind = RopeConfig::Kind::Linear;
  } else if (type == "llama3") {
    result.kind = RopeConfig::Kind::Llama3;
  } else if (type != "default") {
    reader.unsupported(key, "rope type default, linear or llama3", "\"" + type + "\"");
  }
  if (result.kind == RopeConfig::Kind::Default) return result;
  PRUDENT_CHECK(inner.find("factor") != nullptr, "E_CONFIG", inner.label("factor"), "a number", "none");
  result.factor = inner.number("factor", 1.0, 1e-6, 1e6);
  if (result.kind == RopeConfig::Kind::Llama3) {
    result.low_freq_factor = inner.number("low_freq_factor", 1.0, 1e-6, 1e6);
    result.high_freq_factor = inner.number("high_freq_factor", 4.0, 1e-6, 1e6);
    result.original_max_positions = reader.number(
        "original_max_position_embeddings",
        inner.number("original_max_position_embeddings", static_cast<double>(config.max_positions), 1, 1e9), 1, 1e9);
    PRUDENT_CHECK(result.high_freq_factor > result.low_freq_factor, "E_RANGE", inner.label("high_freq_factor"),
                  "more than low_freq_factor", std::to_string(result.high_freq_factor));
  }
  return result;
}

void read_gpt2(const Reader& reader, ModelConfig& config) {
  config.vocab_size = reader.integer("vocab_size", 50257, 1, kMaxSize);
  config.hidden_size = reader.integer("n_embd", 768, 1, kMaxSize);
  config.layers = reader.integer("n_layer", 12, 1, 4096);
  config.heads = reader.integer("n_head", 12, 1, 4096);
  config.kv_heads = config.heads;
  config.max_positions = reader.integer("n_positions", 1024, 1, kMaxSize);
  config.intermediate_size = reader.integer("n_inner", 4 * config.hidden_size, 1, kMaxSize);
  config.norm_eps = reader.number("layer_norm_epsilon", 1e-5, 0, 1);
  config.activation = named_activation(reader, "activation_function", reader.text("activation_function", "gelu_new"));
  config.tie_word_embeddings = reader.boolean("tie_word_embeddings", true);
  config.scale_attention = reader.boolean("scale_attn_weights", true);
  config.scale_attention_by_layer = reader.boolean("scale_attn_by_inverse_layer_idx", false);
  config.attention_bias = config.mlp_bias = true;
  if (reader.boolean("add_cross_attention", false)) reader.unsupported("add_cross_attention", "false", "true");
  PRUDENT_CHECK(config.hidden_size % config.heads == 0, "E_RANGE", reader.label("n_embd"), "a multiple of n_head",
                std::to_string(config.hidden_size) + " with " + std::to_string(config.heads) + " heads");
  config.head_dim = config.hidden_size / config.heads;
}

void read_rotary_decoder(const Reader& reader, ModelConfig& config) {
  const bool gemma = config.architecture == Architecture::Gemma;
  config.vocab_size = reader.integer("vocab_size", gemma ? 256000 : 32000, 1, kMaxSize);
  config.hidden_size = reader.integer("hidden_size", gemma ? 3072 : 4096, 1, kMaxSize);
  config.intermediate_size = reader.integer("intermediate_size", gemma ? 24576 : 11008, 1, kMaxSize);
  config.layers = reader.integer("num_hidden_layers", gemma ? 28 : 32, 1, 4096);
  config.heads = reader.integer("num_attention_heads", gemma ? 16 : 32, 1, 4096);
  config.kv_heads = reader.integer("num_key_value_heads", gemma ? 16 : config.heads, 1, 4096);
  config.head_dim = reader.integer("head_dim", gemma ? 256 : config.hidden_size / config.heads, 1, 65536);
  config.max_positions = reader.integer("max_position_embeddings", gemma ? 8192 : 2048, 1, kMaxSize);
  config.norm_eps = reader.number("rms_norm_eps", 1e-6, 0, 1);
  config.activation =
      gemma ? gemma_activation(reader) : named_activation(reader, "hidden_act", reader.text("hidden_act", "silu"));
  config.tie_word_embeddings = reader.boolean("tie_word_embeddings", gemma);
  config.attention_bias = reader.boolean("attention_bias", false);
  config.mlp_bias = !gemma && reader.boolean("mlp_bias", false);
  config.rope = read_rope(reader, config);
  if (reader.boolean("use_bidirectional_attention", false)) reader.unsupported("use_bidirectional_attention", "false", "true");
  PRUDENT_CHECK(config.heads % config.kv_heads == 0, "E_RANGE", reader.label("num_key_value_heads"),
                "a divisor of num_attention_heads",
                std::to_string(config.kv_heads) + " with " + std::to_string(config.heads) + " heads");
  PRUDENT_CHECK(config.head_dim % 2 == 0, "E_RANGE", reader.label("head_dim"), "an even number", std::to_string(config.head_dim));
}

int64_t read_num_labels(const Reader& reader) {
  if (const Json* labels = reader.find("id2label")) {
    const auto count = static_cast<int64_t>(labels->as_object(reader.label("id2label")).size());
    PRUDENT_CHECK(count >= 1, "E_RANGE", reader.label("id2label"), "at least one label", "none");
    return count;
  }
  return reader.integer("num_labels", 2, 1, 65536);
}

std::string read_dtype(const Reader& reader) {
  std::string name = reader.text("dtype", reader.text("torch_dtype", ""));
  if (name.rfind("torch.", 0) == 0) name.erase(0, 6);
  return name;
}

}  // namespace

const char* architecture_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::Gemma:
      return "gemma";
    case Architecture::Llama:
      return "llama";
    default:
      return "gpt2";
  }
}

ModelConfig parse_model_config(const std::string& text, const std::string& source) {
  ModelConfig config;
  config.source = parse_json(text, source);
  PRUDENT_CHECK(config.source.is_object(), "E_CORRUPT_FILE", source, "a JSON object", config.source.type_name());
  const Reader reader(config.source, source);
  const std::string type = reader.text("model_type", "");
  if (type == "gemma") {
    config.architecture = Architecture::Gemma;
  } else if (type == "llama") {
    config.architecture = Architecture::Llama;
  } else if (type == "gpt2") {
    config.architecture = Architecture::Gpt2;
  } else {
    reader.unsupported("model_type", "gemma, llama or gpt2", type.empty() ? "none" : "\"" + type + "\"");
  }
  if (reader.find("quantization_config") != nullptr) {
    reader.unsupported("quantization_config", "weights that are not quantised", "quantised ones");
  }
  if (config.architecture == Architecture::Gpt2) {
    read_gpt2(reader, config);
  } else {
    read_rotary_decoder(reader, config);
  }
  config.initializer_range = reader.number("initializer_range", 0.02, 0, 1e3);
  config.num_labels = read_num_labels(reader);
  config.bos_token_id = reader.token("bos_token_id");
  config.pad_token_id = reader.token("pad_token_id");
  config.eos_token_ids = reader.integers("eos_token_id");
  config.saved_dtype = read_dtype(reader);
  if (const Json* names = reader.find("architectures")) {
    for (const Json& name : names->as_array(reader.label("architectures"))) {
      config.architectures.push_back(name.as_string(reader.label("architectures")));
    }
  }
  return config;
}

ModelConfig read_model_config(const std::string& folder) {
  std::error_code ignored;
  const fs::path root(folder);
  PRUDENT_CHECK(fs::is_directory(root, ignored), "E_NOT_FOUND", folder, "a model folder",
                fs::exists(root, ignored) ? "a file" : "nothing of that name");
  const std::string path = (root / "config.json").string();
  if (!fs::exists(path, ignored)) {
    const bool adapter = fs::exists(root / "adapter_config.json", ignored);
    fail(adapter ? "E_UNSUPPORTED" : "E_NOT_FOUND", folder, "a folder with config.json",
         adapter ? "an adapter (adapter_config.json): merge it into its base model first" : "none");
  }
  ModelConfig config = parse_model_config(read_text_file(path), path);
  const std::string generation = (root / "generation_config.json").string();
  if (fs::exists(generation, ignored)) {
    config.generation_source = parse_json(read_text_file(generation), generation);
    const Reader reader(config.generation_source, generation);
    if (reader.find("eos_token_id") != nullptr) config.eos_token_ids = reader.integers("eos_token_id");
  }
  return config;
}

std::string write_model_config(const ModelConfig& config, bool classifier, const std::string& dtype) {
  Json json = config.source;
  const char* base = config.architecture == Architecture::Gemma   ? "Gemma"
                     : config.architecture == Architecture::Llama ? "Llama"
                                                                  : "GPT2";
  const char* causal = config.architecture == Architecture::Gpt2 ? "LMHeadModel" : "ForCausalLM";
  json.set("architectures", Json::Array{Json(std::string(base) + (classifier ? "ForSequenceClassification" : causal))});
  json.set("tie_word_embeddings", config.tie_word_embeddings);
  // One of the two ages of the key, whichever the file has.
  json.set(json.find("torch_dtype") != nullptr && json.find("dtype") == nullptr ? "torch_dtype" : "dtype", dtype);
  if (classifier) {
    const Json* former = json.find("id2label");
    const bool same =
        former != nullptr && former->is_object() && static_cast<int64_t>(former->as_object("").size()) == config.num_labels;
    if (!same) {
      Json::Object names, numbers;
      for (int64_t i = 0; i < config.num_labels; ++i) {
        names.emplace_back(std::to_string(i), "LABEL_" + std::to_string(i));
        numbers.emplace_back("LABEL_" + std::to_string(i), i);
      }
      json.set("id2label", std::move(names));
      json.set("label2id", std::move(numbers));
    }
    json.erase("num_labels");  // transformers derives it from id2label
  }
  json.erase("prudent_uncertainty");  // of a sidecar beside the weights that were read (ts/addon/uncertainty.ts), not of these
  return json.dump(2) + "\n";
}

}  // namespace prudent::models
