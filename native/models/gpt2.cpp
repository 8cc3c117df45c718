#include "models/gpt2.h"

#include <cmath>

#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/linear/linear.h"
#include "models/attention.h"
#include "models/parameter_source.h"

namespace prudent::models {

Gpt2::Gpt2(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source) : Model(std::move(config), task, dtype) {
  const int64_t width = config_.hidden_size;
  token_embedding_ = take(source, "transformer.wte.weight", {config_.vocab_size, width}, Init::Normal);
  position_embedding_ = take(source, "transformer.wpe.weight", {config_.max_positions, width}, Init::Normal);
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string prefix = "transformer.h." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = take_norm(source, prefix + "ln_1");
    layer.qkv = take_conv(source, prefix + "attn.c_attn", width, 3 * width, Init::Normal);
    layer.attention_out = take_conv(source, prefix + "attn.c_proj", width, width, Init::ResidualNormal);
    layer.feed_forward_norm = take_norm(source, prefix + "ln_2");
    layer.up = take_conv(source, prefix + "mlp.c_fc", width, config_.intermediate_size, Init::Normal);
    layer.down = take_conv(source, prefix + "mlp.c_proj", config_.intermediate_size, width, Init::ResidualNormal);
    layers_.push_back(std::move(layer));
  }
  final_norm_ = take_norm(source, "transformer.ln_f");
  take_heads(source, token_embedding_);
}

Gpt2::Affine Gpt2::take_norm(ParameterSource& source, const std::string& name) {
  Affine affine;
  affine.weight = take(source, name + ".weight", {config_.hidden_size}, Init::One);
  affine.bias = take(source, name + ".bias", {config_.hidden_size}, Init::Zero);
  return affine;
}

Gpt2::Affine Gpt2::take_conv(ParameterSource& source, const std::string& name, int64_t in, int64_t out, Init init) {
  Affine affine;
  affine.weight = take(source, name + ".weight", {in, out}, init);
  affine.bias = take(source, name + ".bias", {out}, Init::Zero);
  return affine;
}

// x weight + bias
at::Tensor Gpt2::project(const at::Tensor& x, const Affine& affine) {
  return kernels::linear(x, affine.weight,
                         {.layout = kernels::WeightLayout::InOut, .bias = affine.bias, .int8 = affine.int8.if_defined()});
}

// residual + x weight + bias
at::Tensor Gpt2::project_onto(const at::Tensor& residual, const at::Tensor& x, const Affine& affine, bool value_is_read) {
  return kernels::linear(x, affine.weight,
                         {.layout = kernels::WeightLayout::InOut,
                          .bias = affine.bias,
                          .residual = residual,
                          .int8 = affine.int8.if_defined(),
                          .value_is_read = value_is_read});
}

// Outputs first .. first + count - 1 of a projection.
Gpt2::Affine Gpt2::columns(const Affine& affine, int64_t first, int64_t count, const kernels::Int8Weights& int8) {
  return {affine.weight.narrow(1, first, count), affine.bias.narrow(0, first, count), int8};
}

void Gpt2::quantise_blocks() {
  const int64_t width = config_.hidden_size;
  for (Layer& layer : layers_) {
    for (Affine* affine : {&layer.qkv, &layer.attention_out, &layer.up, &layer.down}) {
      affine->int8 = kernels::quantise_weights(affine->weight);
    }
  }
  Layer& last = layers_.back();
  last.q = kernels::quantise_weights(last.qkv.weight.narrow(1, 0, width));
  last.kv = kernels::quantise_weights(last.qkv.weight.narrow(1, width, 2 * width));
}

at::Tensor Gpt2::norm(const at::Tensor& x, const Affine& affine) const {
  return kernels::layer_norm(x, affine.weight, affine.bias, config_.norm_eps);
}

std::vector<at::Tensor> Gpt2::parameters_of(const Layer& layer) {
  std::vector<at::Tensor> parameters;
  for (const Affine* affine :
       {&layer.attention_norm, &layer.qkv, &layer.attention_out, &layer.feed_forward_norm, &layer.up, &layer.down}) {
    parameters.push_back(affine->weight);
    parameters.push_back(affine->bias);
  }
  return parameters;
}

at::Tensor Gpt2::attention(int64_t index, const at::Tensor& x, const ForwardPass& pass) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const bool last = index + 1 == config_.layers;
  const int64_t width = config_.hidden_size;
  double scale = config_.scale_attention ? 1.0 / std::sqrt(static_cast<double>(config_.head_dim)) : 1.0;
  if (config_.scale_attention_by_layer) scale /= static_cast<double>(index + 1);
  const at::Tensor normed = norm(x, layer.attention_norm), asking = pass.read(normed, last);
  at::Tensor q, kv;  // [read, hidden], [tokens, 2 * hidden]
  if (asking.is_same(normed)) {
    const at::Tensor qkv = project(normed, layer.qkv);
    q = qkv.narrow(1, 0, width);
    kv = qkv.narrow(1, width, 2 * width);
  } else {
    q = project(asking, columns(layer.qkv, 0, width, layer.q));
    kv = project(normed, columns(layer.qkv, width, 2 * width, layer.kv));
  }
  const auto split = [&](const at::Tensor& from) { return from.unflatten(1, {config_.heads, config_.head_dim}); };
  const at::Tensor mixed =
      attend(split(q), split(kv.narrow(1, 0, width)), split(kv.narrow(1, width, width)), pass, last, index, scale);
  return project_onto(pass.read(x, last), mixed, layer.attention_out);
}

at::Tensor Gpt2::block(int64_t index, const at::Tensor& x, const ForwardPass& pass, bool value_is_read) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const at::Tensor mixed = attention(index, x, pass);
  const at::Tensor wide = kernels::linear(norm(mixed, layer.feed_forward_norm), layer.up.weight,
                                          {.layout = kernels::WeightLayout::InOut,
                                           .bias = layer.up.bias,
                                           .activation = config_.activation,
                                           .int8 = layer.up.int8.if_defined()});
  return project_onto(mixed, wide, layer.down, value_is_read);
}

int64_t Gpt2::block_bytes(int64_t tokens, int64_t asked) const {
  const int64_t width = config_.hidden_size;
  // normed, k, v; then q, mixed, what attention gives, normed, the wide layer before and after its activation.
  const int64_t items = tokens * 3 * width + asked * (4 * width + 2 * config_.intermediate_size);
  return (items + (asked < tokens ? asked * width : 0)) * static_cast<int64_t>(c10::elementSize(dtype_));
}

at::Tensor Gpt2::hidden(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options) const {
  const auto pass = std::make_shared<const ForwardPass>(batch, cache, options);
  at::Tensor x = kernels::embedding(token_embedding_, batch.ids).add(kernels::embedding(position_embedding_, batch.positions));
  const int64_t again = checkpointed_blocks(*pass, options.checkpoint);
  const auto run = [&](int64_t i, const at::Tensor& input) {
    return run_block(i < again, input, parameters_of(layers_[static_cast<size_t>(i)]),
                     [this, i, pass](const at::Tensor& kept, bool is_read) { return block(i, kept, *pass, is_read); });
  };
  return run_blocks(config_.layers, std::move(x), *pass, options, run,
                    [this](const at::Tensor& state) { return norm(state, final_norm_); });
}

}  // namespace prudent::models
