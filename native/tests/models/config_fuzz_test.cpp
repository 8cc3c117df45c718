// config.json under mutation: a configuration within its limits, which can be written and read again, or a coded error.
#include <doctest/doctest.h>

#include "models/config.h"
#include "support/mutations.h"

namespace prudent::models {
namespace {

using tests::fuzz;
using tests::Mutator;

const std::vector<std::string> kCorpus{
    R"({"model_type":"gpt2","vocab_size":40,"n_embd":8,"n_head":2,"n_layer":1,"n_positions":16,"activation_function":"gelu_new","bos_token_id":0,"eos_token_id":[0,1]})",
    R"({"model_type":"gemma","vocab_size":40,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":4,"hidden_act":"gelu","rope_theta":10000.0,"torch_dtype":"bfloat16"})",
    R"({"model_type":"llama","vocab_size":40,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":1,"num_attention_heads":2,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64},"id2label":{"0":"a"},"tie_word_embeddings":false})"};
const std::vector<std::string> kWords{"null",
                                      "-1",
                                      "0",
                                      "1e30",
                                      "1e-30",
                                      "9223372036854775807",
                                      "16777216",
                                      "16777217",
                                      "true",
                                      "\"\"",
                                      "[]",
                                      "{}",
                                      "\"llama\"",
                                      "\"gemma\"",
                                      "\"num_key_value_heads\":3,",
                                      "\"head_dim\":5,",
                                      "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0},",
                                      "\"num_labels\":0,",
                                      "0.5",
                                      "NaN",
                                      ","};

TEST_CASE("fuzz: config.json") {
  const int64_t good = fuzz(4, 5000, [&](Mutator& mutator) {
    const ModelConfig config = parse_model_config(mutator.mutate(kCorpus, kWords), "config");
    CHECK(config.heads >= 1);
    CHECK(config.heads % config.kv_heads == 0);
    CHECK(config.head_dim >= 1);
    CHECK(config.hidden_size >= 1);
    const ModelConfig again = parse_model_config(write_model_config(config, true, "float32"), "written");
    CHECK(again.vocab_size == config.vocab_size);
    CHECK(again.num_labels == config.num_labels);
    CHECK(again.head_dim == config.head_dim);
  });
  CHECK(good > 0);
}

}  // namespace
}  // namespace prudent::models
