#include "models/config.h"

#include <doctest/doctest.h>

#include <string>

#include "support/error_code.h"
#include "support/temporary_folder.h"

namespace prudent::models {
namespace {

using kernels::Activation;
using tests::error_of;

constexpr const char* kGemma =
    R"({"model_type":"gemma","vocab_size":256000,"hidden_size":2048,"intermediate_size":16384,"num_hidden_layers":18,
        "num_attention_heads":8,"num_key_value_heads":1,"head_dim":256,"max_position_embeddings":8192,"rms_norm_eps":1e-06,
        "hidden_act":"gelu","hidden_activation":null,"rope_scaling":null,"rope_theta":10000.0,"torch_dtype":"bfloat16",
        "architectures":["GemmaForCausalLM"],"bos_token_id":2,"eos_token_id":1,"pad_token_id":0,"transformers_version":"4.38.1"})";
constexpr const char* kLlama =
    R"({"model_type":"llama","vocab_size":128256,"hidden_size":2048,"intermediate_size":8192,"num_hidden_layers":16,
        "num_attention_heads":32,"num_key_value_heads":8,"max_position_embeddings":131072,"rms_norm_eps":1e-05,"hidden_act":"silu",
        "rope_parameters":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,
        "rope_theta":500000.0,"rope_type":"llama3"},"tie_word_embeddings":true,"dtype":"bfloat16","eos_token_id":[128001,128009]})";

ModelConfig parse(const std::string& text) { return parse_model_config(text, "config.json"); }
// The config with members replaced.
ModelConfig parse_with(const char* text, const std::string& members) {
  Json json = parse_json(text, "text");
  const Json changes = parse_json("{" + members + "}", "members");
  for (const auto& [key, value] : changes.as_object("")) json.set(key, value);
  return parse(json.dump());
}

TEST_CASE("config: the hub's form") {
  const ModelConfig config = parse(kGemma);
  CHECK((config.architecture == Architecture::Gemma));
  CHECK(config.head_dim == 256);
  CHECK(config.kv_heads == 1);
  CHECK((config.activation == Activation::GeluTanh));
  CHECK(config.rope.theta == 10000.0);
  CHECK((config.rope.kind == RopeConfig::Kind::Default));
  CHECK(config.tie_word_embeddings);
  CHECK(config.saved_dtype == "bfloat16");
  CHECK((config.eos_token_ids == std::vector<int64_t>{1}));
  CHECK(config.bos_token_id == 2);
  CHECK(config.pad_token_id == 0);
  CHECK(config.num_labels == 2);
}

TEST_CASE("config: the form of transformers 5") {
  const ModelConfig config = parse(kLlama);
  CHECK((config.rope.kind == RopeConfig::Kind::Llama3));
  CHECK(config.rope.theta == 500000.0);
  CHECK(config.rope.factor == 32.0);
  CHECK(config.rope.original_max_positions == 8192.0);
  CHECK(config.head_dim == 64);
  CHECK(config.saved_dtype == "bfloat16");
  CHECK((config.eos_token_ids == std::vector<int64_t>{128001, 128009}));
  CHECK(!config.pad_token_id.has_value());
}

TEST_CASE("config: Gemma's activation by the age of the file") {
  CHECK((parse_with(kGemma, R"("hidden_activation":"gelu")").activation == Activation::GeluExact));
  CHECK((parse_with(kGemma, R"("hidden_activation":"gelu_pytorch_tanh")").activation == Activation::GeluTanh));
  const std::string five = R"("transformers_version":"5.23.0",)";
  CHECK((parse_with(kGemma, five + R"("hidden_activation":"gelu")").activation == Activation::GeluTanh));
  CHECK((parse_with(kGemma, five + R"("hidden_act":"gelu_python")").activation == Activation::GeluExact));
  CHECK((parse_with(kGemma, five + R"("hidden_act":"silu")").activation == Activation::Silu));
}

TEST_CASE("config: defaults of transformers where the file is silent") {
  const ModelConfig gpt2 = parse(R"({"model_type":"gpt2"})");
  CHECK(gpt2.hidden_size == 768);
  CHECK(gpt2.intermediate_size == 3072);
  CHECK(gpt2.tie_word_embeddings);
  CHECK((gpt2.activation == Activation::GeluTanh));
  CHECK(parse(R"({"model_type":"llama"})").kv_heads == 32);
  CHECK(!parse(R"({"model_type":"llama"})").tie_word_embeddings);
  CHECK(parse_with(kLlama, R"("rope_parameters":{"rope_type":"llama3","factor":8.0})").rope.original_max_positions == 131072.0);
  CHECK(parse_with(kGemma, R"("rope_scaling":{"type":"linear","factor":2})").rope.factor == 2.0);
}

TEST_CASE("config: labels") {
  CHECK(parse_with(kLlama, R"("id2label":{"0":"a","1":"b","2":"c"})").num_labels == 3);
  CHECK(parse_with(kLlama, R"("num_labels":10)").num_labels == 10);
}

TEST_CASE("config: what prudent lacks is E_UNSUPPORTED and named") {
  const std::pair<const char*, const char*> cases[] = {
      {R"("model_type":"gemma2")", "gemma2"},
      {R"("model_type":null)", "none"},
      {R"("hidden_act":"relu")", "relu"},
      {R"("rope_scaling":{"rope_type":"yarn","factor":4.0})", "yarn"},
      {R"("rope_scaling":{"type":"dynamic","factor":4.0})", "dynamic"},
      {R"("partial_rotary_factor":0.5)", "0.5"},
      {R"("rope_scaling":null,"rope_parameters":{"full_attention":{"rope_type":"linear","factor":2}})", "full_attention"},
      {R"("quantization_config":{"bits":4})", "quantised"},
      {R"("use_bidirectional_attention":true)", "true"},
  };
  for (const auto& [members, received] : cases) {
    CAPTURE(members);
    const Error error = error_of([&] { (void)parse_with(kLlama, members); });
    CHECK(error.code == "E_UNSUPPORTED");
    CHECK(error.received.find(received) != std::string::npos);
  }
}

TEST_CASE("config: a rotary embedding of a part of the head is refused where there are no other parameters of it") {
  const Error error = error_of([] { (void)parse_with(kGemma, R"("partial_rotary_factor":0.5)"); });
  CHECK(error.code == "E_UNSUPPORTED");
}

TEST_CASE("config: values that no model can have are refused by name") {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {R"("hidden_size":0)", "E_RANGE", "hidden_size"},
      {R"("hidden_size":1e3)", "E_TYPE", "hidden_size"},
      {R"("vocab_size":99999999999)", "E_RANGE", "vocab_size"},
      {R"("num_hidden_layers":"two")", "E_TYPE", "num_hidden_layers"},
      {R"("num_key_value_heads":5)", "E_RANGE", "num_key_value_heads"},
      {R"("head_dim":15)", "E_RANGE", "head_dim"},
      {R"("rms_norm_eps":-1.0)", "E_RANGE", "rms_norm_eps"},
      {R"("rope_parameters":{"rope_type":"llama3"})", "E_CONFIG", "factor"},
      {R"("id2label":{})", "E_RANGE", "id2label"},
      {R"("architectures":"LlamaForCausalLM")", "E_TYPE", "architectures"},
  };
  for (const auto& [members, code, argument] : cases) {
    CAPTURE(members);
    const Error error = error_of([&] { (void)parse_with(kLlama, members); });
    CHECK(error.code == code);
    CHECK(error.argument.find(argument) != std::string::npos);
    CHECK(error.argument.find("config.json") != std::string::npos);
  }
  CHECK(error_of([] { (void)parse("[]"); }).code == "E_CORRUPT_FILE");
  CHECK(error_of([] { (void)parse("{"); }).code == "E_CORRUPT_FILE");
}

TEST_CASE("config: a folder's generation_config.json has the last word on EOS") {
  const tests::TemporaryFolder folder;
  CHECK(error_of([&] { (void)read_model_config(folder.file("none")); }).code == "E_NOT_FOUND");
  CHECK(error_of([&] { (void)read_model_config(folder.path()); }).code == "E_NOT_FOUND");
  folder.write("adapter_config.json", "{}");
  CHECK(error_of([&] { (void)read_model_config(folder.path()); }).code == "E_UNSUPPORTED");
  folder.write("config.json", kGemma);
  CHECK((read_model_config(folder.path()).eos_token_ids == std::vector<int64_t>{1}));
  folder.write("generation_config.json", R"({"eos_token_id":[1,107]})");
  CHECK((read_model_config(folder.path()).eos_token_ids == std::vector<int64_t>{1, 107}));
}

TEST_CASE("config: written back with what changed and all that was there") {
  ModelConfig config = parse_with(kGemma, R"("custom":{"kept":true})");
  config.num_labels = 10;
  const Json written = parse_json(write_model_config(config, true, "float32"), "written");
  CHECK(written.find("architectures")->dump() == R"(["GemmaForSequenceClassification"])");
  CHECK(written.find("id2label")->as_object("").size() == 10);
  CHECK(written.find("label2id")->find("LABEL_9")->as_int("") == 9);
  CHECK(written.find("torch_dtype")->as_string("") == "float32");
  CHECK(written.find("dtype") == nullptr);
  CHECK(written.find("custom")->find("kept")->as_bool(""));
  CHECK(parse(written.dump()).num_labels == 10);
  CHECK(parse_json(write_model_config(parse(kLlama), false, "float32"), "written").find("dtype")->as_string("") == "float32");
}

}  // namespace
}  // namespace prudent::models
