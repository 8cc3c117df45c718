#include "models/rotary_decoder.h"

#include <algorithm>
#include <cmath>

#include "kernels/embedding/embedding.h"
#include "kernels/gated_linear/gated_linear.h"
#include "kernels/linear/linear.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rotary/rotary.h"
#include "models/attention.h"
#include "models/parameter_source.h"

namespace prudent::models {
namespace {

double embedding_scale(const ModelConfig& config, at::ScalarType dtype) {
  if (config.architecture != Architecture::Gemma) return 1.0;
  const auto scale = static_cast<float>(std::sqrt(static_cast<double>(config.hidden_size)));
  return dtype == at::kBFloat16 ? static_cast<double>(static_cast<float>(c10::BFloat16(scale))) : static_cast<double>(scale);
}

}  // namespace

RotaryDecoder::RotaryDecoder(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source)
    : Model(std::move(config), task, dtype),
      unit_offset_(config_.architecture == Architecture::Gemma),
      embedding_scale_(embedding_scale(config_, dtype)),
      embedding_(take(source, "model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size}, Init::Normal)),
      rope_(config_.rope, config_.head_dim, embedding_.device()) {
  const int64_t width = config_.hidden_size;
  const int64_t q_width = config_.heads * config_.head_dim;
  const int64_t kv_width = config_.kv_heads * config_.head_dim;
  const Init neutral = unit_offset_ ? Init::Zero : Init::One;
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.q = take_projection(source, prefix + "self_attn.q_proj", q_width, width, config_.attention_bias);
    layer.k = take_projection(source, prefix + "self_attn.k_proj", kv_width, width, config_.attention_bias);
    layer.v = take_projection(source, prefix + "self_attn.v_proj", kv_width, width, config_.attention_bias);
    layer.o = take_projection(source, prefix + "self_attn.o_proj", width, q_width, config_.attention_bias);
    layer.gate = take_projection(source, prefix + "mlp.gate_proj", config_.intermediate_size, width, config_.mlp_bias);
    layer.up = take_projection(source, prefix + "mlp.up_proj", config_.intermediate_size, width, config_.mlp_bias);
    layer.down = take_projection(source, prefix + "mlp.down_proj", width, config_.intermediate_size, config_.mlp_bias);
    layer.attention_norm = take(source, prefix + "input_layernorm.weight", {width}, neutral);
    layer.feed_forward_norm = take(source, prefix + "post_attention_layernorm.weight", {width}, neutral);
    layers_.push_back(std::move(layer));
  }
  final_norm_ = take(source, "model.norm.weight", {width}, neutral);
  take_heads(source, embedding_);
}

RotaryDecoder::Projection RotaryDecoder::take_projection(ParameterSource& source, const std::string& name, int64_t out,
                                                         int64_t in, bool bias) {
  Projection projection;
  projection.weight = take(source, name + ".weight", {out, in}, Init::Normal);
  if (bias) projection.bias = take(source, name + ".bias", {out}, Init::Zero);
  return projection;
}

void RotaryDecoder::quantise_blocks() {
  for (Layer& layer : layers_) {
    for (Projection* projection : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.down}) {
      projection->int8 = kernels::quantise_weights(projection->weight.t());
    }
    layer.up.int8 = kernels::quantise_weights(layer.up.weight.t(), layer.gate.weight.t());
  }
}

at::Tensor RotaryDecoder::norm(const at::Tensor& x, const at::Tensor& weight) const {
  return kernels::rms_norm(x, weight, config_.norm_eps, unit_offset_);
}

std::vector<at::Tensor> RotaryDecoder::parameters_of(const Layer& layer) {
  std::vector<at::Tensor> parameters{layer.attention_norm, layer.feed_forward_norm};
  for (const Projection* projection : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
    parameters.push_back(projection->weight);
    if (projection->bias.defined()) parameters.push_back(projection->bias);
  }
  return parameters;
}

at::Tensor RotaryDecoder::attention(int64_t index, const at::Tensor& x, const ForwardPass& pass) const {
  const Layer& layer = layers_[static_cast<size_t>(index)];
  const bool last = index + 1 == config_.layers;
  const auto [cos, sin] = rope_.tables(pass.longest_row());
  if (pass.cache() != nullptr) pass.cache()->hold(cos, sin);
  const auto split = [&](const Projection& projection, const at::Tensor& from, int64_t heads) {
    return kernels::linear(from, projection.weight, {.bias = projection.bias, .int8 = projection.int8.if_defined()})
        .view({from.size(0), heads, config_.head_dim});
  };
  const at::Tensor normed = norm(x, layer.attention_norm);
  const at::Tensor k = kernels::rotary(split(layer.k, normed, config_.kv_heads), pass.positions(false), cos, sin);
  const at::Tensor v = split(layer.v, normed, config_.kv_heads);
  const at::Tensor q = kernels::rotary(split(layer.q, pass.read(normed, last), config_.heads), pass.positions(last), cos, sin);
  const double scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  const at::Tensor mixed = attend(q, k, v, pass, last, index, scale);
  return kernels::linear(mixed, layer.o.weight,
                         {.bias = layer.o.bias, .residual = pass.read(x, last), .int8 = layer.o.int8.if_defined()});
}

at::Tensor RotaryDecoder::feed_forward(const Layer& layer, const at::Tensor& x, bool value_is_read) const {
  const at::Tensor normed = norm(x, layer.feed_forward_norm);
  const kernels::GatedWeights weights{.gate = layer.gate.weight,
                                      .up = layer.up.weight,
                                      .gate_bias = layer.gate.bias,
                                      .up_bias = layer.up.bias,
                                      .int8 = layer.up.int8.if_defined()};
  return kernels::gated_feed_forward(normed, weights, config_.activation,
                                     {.weight = layer.down.weight,
                                      .bias = layer.down.bias,
                                      .residual = x,
                                      .value_is_read = value_is_read,
                                      .int8 = layer.down.int8.if_defined()});
}

at::Tensor RotaryDecoder::block(int64_t index, const at::Tensor& x, const ForwardPass& pass, bool value_is_read) const {
  return feed_forward(layers_[static_cast<size_t>(index)], attention(index, x, pass), value_is_read);
}

int64_t RotaryDecoder::block_bytes(int64_t tokens, int64_t asked) const {
  const int64_t width = config_.hidden_size, queries = config_.heads * config_.head_dim;
  const int64_t keys = config_.kv_heads * config_.head_dim;
  // normed, k, v; then q, mixed, what attention gives, normed, gate and up.
  const int64_t items = tokens * (width + 2 * keys) + asked * (2 * queries + 2 * width + 2 * config_.intermediate_size);
  return (items + (asked < tokens ? asked * width : 0)) * static_cast<int64_t>(c10::elementSize(dtype_));
}

at::Tensor RotaryDecoder::hidden(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options) const {
  const auto pass = std::make_shared<const ForwardPass>(batch, cache, options);
  at::Tensor x = kernels::embedding(embedding_, batch.ids);
  if (embedding_scale_ != 1.0) x = x.mul(embedding_scale_);
  const int64_t again = checkpointed_blocks(*pass, options.checkpoint);
  const auto run = [&](int64_t i, const at::Tensor& input) {
    return run_block(i < again, input, parameters_of(layers_[static_cast<size_t>(i)]),
                     [this, i, pass](const at::Tensor& kept, bool is_read) { return block(i, kept, *pass, is_read); });
  };
  return run_blocks(config_.layers, std::move(x), *pass, options, run,
                    [this](const at::Tensor& state) { return norm(state, final_norm_); });
}

}  // namespace prudent::models
