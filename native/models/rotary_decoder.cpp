#include "models/rotary_decoder.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <cmath>

#include "kernels/geglu/geglu.h"
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

at::Tensor project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

// residual + x weight^T (+ bias), without a separate pass for the sum.
at::Tensor project_onto(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return bias.defined() ? residual.add(at::linear(x, weight, bias)) : at::addmm(residual, x, weight.t());
}

int64_t positions_needed(const PackedBatch& batch, const KvCache* cache) {
  if (cache != nullptr && cache->follows_positions()) return cache->capacity();
  int64_t most = 0;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const bool decoding = cache != nullptr && !cache->prefilling();
    most = std::max<int64_t>(most, decoding ? cache->length(row) : batch.lengths[static_cast<size_t>(row)]);
  }
  return most;
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

at::Tensor RotaryDecoder::norm(const at::Tensor& x, const at::Tensor& weight) const {
  return kernels::rms_norm(x, weight, config_.norm_eps, unit_offset_);
}

at::Tensor RotaryDecoder::attention(const Layer& layer, int64_t index, const at::Tensor& x, const PackedBatch& batch,
                                    KvCache* cache, const std::pair<at::Tensor, at::Tensor>& rope) const {
  const int64_t tokens = x.size(0);
  const auto& [cos, sin] = rope;
  const at::Tensor normed = norm(x, layer.attention_norm);
  const auto split = [&](const Projection& projection, int64_t heads) {
    return project(normed, projection.weight, projection.bias).view({tokens, heads, config_.head_dim});
  };
  const at::Tensor q = kernels::rotary(split(layer.q, config_.heads), batch.positions, cos, sin);
  const at::Tensor k = kernels::rotary(split(layer.k, config_.kv_heads), batch.positions, cos, sin);
  const at::Tensor v = split(layer.v, config_.kv_heads);
  const at::Tensor mixed = attend(q, k, v, batch, cache, index, 1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
  return project_onto(x, mixed, layer.o.weight, layer.o.bias);
}

at::Tensor RotaryDecoder::feed_forward(const Layer& layer, const at::Tensor& x) const {
  const at::Tensor normed = norm(x, layer.feed_forward_norm);
  const at::Tensor gated = kernels::geglu(project(normed, layer.gate.weight, layer.gate.bias),
                                          project(normed, layer.up.weight, layer.up.bias), config_.activation);
  return project_onto(x, gated, layer.down.weight, layer.down.bias);
}

at::Tensor RotaryDecoder::hidden(const PackedBatch& batch, KvCache* cache) const {
  if (cache != nullptr) cache->begin(batch);
  const auto rope = rope_.tables(positions_needed(batch, cache));
  if (cache != nullptr && cache->follows_positions()) {
    cache->hold(rope.first);
    cache->hold(rope.second);
  }
  at::Tensor x = at::embedding(embedding_, batch.ids);
  if (embedding_scale_ != 1.0) x = x.mul(embedding_scale_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = attention(layers_[i], static_cast<int64_t>(i), x, batch, cache, rope);
    x = feed_forward(layers_[i], x);
  }
  return norm(x, final_norm_);
}

}  // namespace prudent::models
