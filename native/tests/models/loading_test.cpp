// Folders as they are found: tensor names of either age, buffers of old versions, tied heads, value heads, missing pieces.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "core/io.h"
#include "support/error_code.h"
#include "support/temporary_folder.h"
#include "support/tiny_model.h"

namespace prudent::models {
namespace {

using tests::error_of;
using tests::TemporaryFolder;
using tests::tiny_model;

constexpr const char* kGpt2 = R"({"model_type":"gpt2","vocab_size":31,"n_embd":12,"n_layer":2,"n_head":3,"n_positions":16})";
constexpr const char* kLlama =
    R"({"model_type":"llama","vocab_size":29,"hidden_size":12,"intermediate_size":20,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"max_position_embeddings":16,"head_dim":6,"tie_word_embeddings":true})";

LoadOptions options_for(Task task, at::ScalarType dtype = at::kFloat) {
  LoadOptions options;
  options.task = task;
  options.dtype = dtype;
  return options;
}

PackedBatch small_batch(const Model& model) {
  const std::vector<int32_t> ids{3, 7, 11, 2, 5}, lengths{2, 3};
  return pack(ids.data(), 5, lengths.data(), 2, model.config().vocab_size, model.config().max_positions, model.device());
}

at::Tensor logits_of(const Model& model) {
  const at::NoGradGuard no_grad;
  return model.logits(model.hidden(small_batch(model)));
}

// The model as a folder whose tensors went through `change`.
void write_model(const TemporaryFolder& folder, const Model& model, const std::function<void(NamedTensors&)>& change) {
  NamedTensors tensors = model.parameters();
  change(tensors);
  folder.write("config.json", model.config().source.dump());
  write_safetensors_folder(folder.path(), tensors, int64_t{1} << 40, {});
}

TEST_CASE("loading: tensor names with and without the base model's prefix, with TRL's, with the buffers of old versions") {
  const std::pair<const char*, const char*> models[] = {{kGpt2, "transformer."}, {kLlama, "model."}};
  for (const auto& [config, prefix] : models) {
    const auto model = tiny_model(config, Task::CausalLm, at::kFloat);
    const std::string base = prefix;
    const auto strip = [&](NamedTensors& tensors) {
      for (auto& [name, tensor] : tensors) name = name.starts_with(base) ? name.substr(base.size()) : name;
    };
    const auto trl = [](NamedTensors& tensors) {
      for (auto& [name, tensor] : tensors) name = "pretrained_model." + name;
      tensors.emplace_back("v_head.summary.weight", at::ones({1, 12}));
      tensors.emplace_back("v_head.summary.bias", at::ones({1}));
    };
    const auto old = [&](NamedTensors& tensors) {
      strip(tensors);
      if (base == "transformer.") {
        tensors.emplace_back("h.0.attn.bias", at::ones({1, 1, 16, 16}).to(at::kByte));
        tensors.emplace_back("h.1.attn.masked_bias", at::ones({}));
      } else {
        tensors.emplace_back("layers.1.self_attn.rotary_emb.inv_freq", at::ones({3}));
      }
    };
    for (const auto& change : std::vector<std::function<void(NamedTensors&)>>{[](NamedTensors&) {}, strip, trl, old}) {
      const TemporaryFolder folder;
      write_model(folder, *model, change);
      const auto loaded = Model::load(folder.path(), options_for(Task::CausalLm), {});
      CHECK(logits_of(*loaded).equal(logits_of(*model)));
    }
  }
}

TEST_CASE("loading: missing and unexpected tensors are named, all at once") {
  const auto model = tiny_model(kGpt2, Task::CausalLm, at::kFloat);
  const TemporaryFolder folder;
  write_model(folder, *model, [](NamedTensors& tensors) {
    tensors.erase(tensors.begin() + 3);  // transformer.h.0.ln_1.bias
    tensors.pop_back();                  // transformer.ln_f.bias
    tensors.emplace_back("transformer.h.0.attn.c_attn.extra", at::ones({2}));
    tensors.emplace_back("transformer.h.x.attn.bias", at::ones({2}));  // not quite the old buffer's name
  });
  const Error error = error_of([&] { (void)Model::load(folder.path(), options_for(Task::CausalLm), {}); });
  CHECK(error.code == "E_MISSING_TENSOR");
  CHECK(error.argument == folder.path());
  CHECK(error.received ==
        "missing: transformer.h.0.ln_1.bias, transformer.ln_f.bias; unexpected: transformer.h.0.attn.c_attn.extra, "
        "transformer.h.x.attn.bias");
}

TEST_CASE("loading: shapes, dtypes and kinds of file that do not fit") {
  const auto model = tiny_model(kLlama, Task::CausalLm, at::kFloat);
  const auto load_changed = [&](const std::function<void(NamedTensors&)>& change) {
    const TemporaryFolder folder;
    write_model(folder, *model, change);
    return error_of([&] { (void)Model::load(folder.path(), options_for(Task::CausalLm), {}); });
  };
  const Error shape = load_changed([](NamedTensors& tensors) { tensors[0].second = at::ones({29, 13}); });
  CHECK(shape.code == "E_SHAPE");
  CHECK(shape.argument.ends_with("model.embed_tokens.weight"));
  CHECK(shape.received == "[29, 13]");
  CHECK(load_changed([](NamedTensors& tensors) { tensors[0].second = tensors[0].second.to(at::kInt); }).code == "E_DTYPE");
  const TemporaryFolder pickled;
  pickled.write("config.json", kLlama);
  CHECK(error_of([&] { (void)Model::load(pickled.path(), options_for(Task::CausalLm), {}); }).code == "E_NOT_FOUND");
  pickled.write("pytorch_model.bin", "PK");
  const Error convert = error_of([&] { (void)Model::load(pickled.path(), options_for(Task::CausalLm), {}); });
  CHECK(convert.code == "E_UNSUPPORTED");
  CHECK(convert.received.find("convert") != std::string::npos);
}

TEST_CASE("loading: weights of another dtype are converted, of the same dtype mapped") {
  const TemporaryFolder folder;
  tiny_model(kLlama, Task::CausalLm, at::kBFloat16)->save(folder.file("model"), int64_t{1} << 40, {});
  // Values of 8 significant bits: nothing is lost on the way.
  const auto wide = Model::load(folder.file("model"), options_for(Task::CausalLm, at::kFloat), {});
  CHECK(logits_of(*wide).equal(logits_of(*tiny_model(kLlama, Task::CausalLm, at::kFloat))));
  const TemporaryFolder half;
  write_model(half, *wide, [](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kHalf);
  });
  CHECK(logits_of(*Model::load(half.path(), options_for(Task::CausalLm), {})).equal(logits_of(*wide)));
}

TEST_CASE("loading: a tied head that the file holds twice, once under either name, or with other values") {
  const auto model = tiny_model(kLlama, Task::CausalLm, at::kFloat);
  const at::Tensor embedding = model->parameters()[0].second;
  const auto reload = [&](const std::function<void(NamedTensors&)>& change) {
    const TemporaryFolder folder;
    write_model(folder, *model, change);
    return Model::load(folder.path(), options_for(Task::CausalLm), {});
  };
  const auto twice = reload([&](NamedTensors& tensors) { tensors.emplace_back("lm_head.weight", embedding.clone()); });
  CHECK(twice->config().tie_word_embeddings);
  CHECK(twice->parameters().size() == model->parameters().size());
  const auto renamed = reload([](NamedTensors& tensors) { tensors[0].first = "lm_head.weight"; });
  CHECK(logits_of(*renamed).equal(logits_of(*model)));
  const auto other = reload([&](NamedTensors& tensors) { tensors.emplace_back("lm_head.weight", embedding.mul(2)); });
  CHECK(!other->config().tie_word_embeddings);
  CHECK(logits_of(*other).equal(logits_of(*model).mul(2)));
}

TEST_CASE("loading: heads of another task are passed over; a head that is missing is built only when asked for") {
  const TemporaryFolder folder;
  tiny_model(kLlama, Task::CausalLm, at::kFloat)->save(folder.file("causal"), int64_t{1} << 40, {});
  LoadOptions options = options_for(Task::SequenceClassification);
  const Error missing = error_of([&] { (void)Model::load(folder.file("causal"), options, {}); });
  CHECK(missing.code == "E_MISSING_TENSOR");
  CHECK(missing.received == "missing: score.weight");
  options.allow_new_head = true;
  options.num_labels = 3;
  options.seed = 5;
  const auto first = Model::load(folder.file("causal"), options, {});
  CHECK(first->scores(small_batch(*first)).numel() == 2 * 3);
  CHECK(first->score_weight().equal(Model::load(folder.file("causal"), options, {})->score_weight()));
  options.seed = 6;
  CHECK(!first->score_weight().equal(Model::load(folder.file("causal"), options, {})->score_weight()));
  CHECK(first->score_weight().std().item<double>() == doctest::Approx(0.02).epsilon(0.4));
  first->save(folder.file("classifier"), int64_t{1} << 40, {});
  CHECK(logits_of(*Model::load(folder.file("classifier"), options_for(Task::CausalLm), {}))
            .equal(logits_of(*tiny_model(kLlama, Task::CausalLm, at::kFloat))));
  CHECK(error_of([&] { (void)first->lm_weight(); }).code == "E_NO_HEAD");
}

TEST_CASE("saving: a round trip keeps every bit, in one file or in shards, over an old model too") {
  const TemporaryFolder folder;
  for (const char* config : {kGpt2, kLlama}) {
    const auto model = tiny_model(config, Task::CausalLm, at::kFloat);
    model->add_value_head(3);
    for (const int64_t limit : {int64_t{1} << 40, int64_t{2000}}) {
      model->save(folder.file("model"), limit, {});
      const auto loaded = Model::load(folder.file("model"), options_for(Task::CausalLm), {});
      const auto mine = model->parameters(), theirs = loaded->parameters();
      REQUIRE(mine.size() == theirs.size());
      for (size_t i = 0; i < mine.size(); ++i) {
        CHECK(mine[i].first == theirs[i].first);
        CHECK(mine[i].second.equal(theirs[i].second));
      }
      CHECK(loaded->has_value_head());
    }
  }
}

TEST_CASE("heads: replaced, cloned and counted") {
  const auto model = tiny_model(kLlama, Task::SequenceClassification, at::kFloat);
  const at::Tensor weight = at::ones({10, 12});
  model->set_score_weight(weight);
  CHECK(model->config().num_labels == 10);
  const auto copy = model->clone();
  CHECK(copy->scores(small_batch(*copy)).equal(model->scores(small_batch(*model))));
  const at::NoGradGuard no_grad;
  at::Tensor own = copy->parameters().back().second;
  own.zero_();
  CHECK(copy->scores(small_batch(*copy)).abs().max().item<double>() == 0.0);
  CHECK(model->scores(small_batch(*model)).abs().max().item<double>() > 0.0);
  CHECK(weight.sum().item<double>() == 120.0);
  CHECK(error_of([&] { model->set_score_weight(at::ones({2, 13})); }).code == "E_SHAPE");
  CHECK(error_of([&] { model->add_value_head(0); }).code == "E_NO_HEAD");
}

TEST_CASE("random models: transformers' initialisation, by seed and name") {
  LoadOptions options = options_for(Task::CausalLm);
  options.seed = 1;
  const auto model = Model::create(kGpt2, options);
  for (const auto& [name, tensor] : model->parameters()) {
    CAPTURE(name);
    if (name.ends_with(".bias")) CHECK(tensor.abs().max().item<double>() == 0.0);
    if (name.ends_with("ln_1.weight")) CHECK(tensor.eq(1.0).all().item<bool>());
    if (name.ends_with("c_attn.weight")) CHECK(tensor.std().item<double>() == doctest::Approx(0.02).epsilon(0.2));
    if (name.ends_with("mlp.c_proj.weight")) CHECK(tensor.std().item<double>() == doctest::Approx(0.02 / 2).epsilon(0.2));
  }
  CHECK(logits_of(*Model::create(kGpt2, options)).equal(logits_of(*model)));
  options.seed = 2;
  CHECK(!logits_of(*Model::create(kGpt2, options)).equal(logits_of(*model)));
}

TEST_CASE("batches: rows that cannot be read are named") {
  const auto pack_one = [](std::vector<int32_t> ids, std::vector<int32_t> lengths) {
    return error_of([&] {
      (void)pack(ids.data(), static_cast<int64_t>(ids.size()), lengths.data(), static_cast<int64_t>(lengths.size()), 10, 4,
                 at::kCPU);
    });
  };
  CHECK(pack_one({1, 2, 3}, {1, 2}).code.empty());
  CHECK(pack_one({}, {}).code == "E_SHAPE");
  CHECK(pack_one({1}, {1, 0}).argument == "lengths[1]");
  CHECK(pack_one({1, 2, 3, 4, 5}, {5}).code == "E_TOO_LONG");
  CHECK(pack_one({1, 2}, {1}).code == "E_SHAPE");
  CHECK(pack_one({1, 10}, {1, 1}).argument == "ids[1]");
  CHECK(pack_one({1, -1}, {2}).code == "E_RANGE");
}

}  // namespace
}  // namespace prudent::models
