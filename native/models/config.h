// What a config.json says of a model, from either age of the file: hub files hold rope_theta, rope_scaling and torch_dtype,
// transformers 5 writes rope_parameters and dtype.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "kernels/geglu/geglu.h"

namespace prudent::models {

enum class Architecture { Gemma, Llama, Gpt2 };

struct RopeConfig {
  enum class Kind { Default, Linear, Llama3 };
  Kind kind = Kind::Default;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_positions = 8192;
};

struct ModelConfig {
  Architecture architecture = Architecture::Llama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double norm_eps = 1e-6;
  kernels::Activation activation = kernels::Activation::Silu;
  RopeConfig rope;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  // GPT-2's variants of the attention scale.
  bool scale_attention = true;
  bool scale_attention_by_layer = false;
  double initializer_range = 0.02;
  int64_t num_labels = 2;
  std::optional<int64_t> bos_token_id;
  std::optional<int64_t> pad_token_id;
  std::vector<int64_t> eos_token_ids;      // of generation_config.json where the folder has one, else of config.json
  std::string saved_dtype;                 // "float32", "bfloat16" …, empty when the file does not say
  std::vector<std::string> architectures;  // class names, for instance "GemmaForCausalLM"

  Json source;             // the file as read; save() writes it back with what changed
  Json generation_source;  // generation_config.json as read, or null
};

// `source` names the text in errors. E_UNSUPPORTED for a model_type or setting that prudent lacks (named), E_CORRUPT_FILE for
// text that is not JSON, E_TYPE and E_RANGE for values that no model can have.
ModelConfig parse_model_config(const std::string& text, const std::string& source);
// config.json (and generation_config.json where there is one) of a folder; E_NOT_FOUND.
ModelConfig read_model_config(const std::string& folder);

const char* architecture_name(Architecture architecture);  // "gemma" | "llama" | "gpt2"

// config.json as transformers reads it, for a causal LM or a classifier with config.num_labels outputs.
std::string write_model_config(const ModelConfig& config, bool classifier, const std::string& dtype);

}  // namespace prudent::models
