#include "models/gpt2.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/silu.h>

#include <cmath>

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

at::Tensor Gpt2::norm(const at::Tensor& x, const Affine& affine) const {
  return at::layer_norm(x, {config_.hidden_size}, affine.weight, affine.bias, config_.norm_eps);
}

at::Tensor Gpt2::activate(const at::Tensor& x) const {
  if (config_.activation == kernels::Activation::Silu) return at::silu(x);
  return at::gelu(x, config_.activation == kernels::Activation::GeluTanh ? "tanh" : "none");
}

at::Tensor Gpt2::attention(const Layer& layer, int64_t index, const at::Tensor& x, const PackedBatch& batch,
                           KvCache* cache) const {
  const at::Tensor qkv = at::addmm(layer.qkv.bias, norm(x, layer.attention_norm), layer.qkv.weight);
  const at::Tensor parts = qkv.view({x.size(0), 3, config_.heads, config_.head_dim});
  double scale = config_.scale_attention ? 1.0 / std::sqrt(static_cast<double>(config_.head_dim)) : 1.0;
  if (config_.scale_attention_by_layer) scale /= static_cast<double>(index + 1);
  const at::Tensor mixed = attend(parts.select(1, 0), parts.select(1, 1), parts.select(1, 2), batch, cache, index, scale);
  return x.add(at::addmm(layer.attention_out.bias, mixed, layer.attention_out.weight));
}

at::Tensor Gpt2::hidden(const PackedBatch& batch, KvCache* cache) const {
  if (cache != nullptr) cache->begin(batch);
  at::Tensor x = at::embedding(token_embedding_, batch.ids).add(at::embedding(position_embedding_, batch.positions));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    x = attention(layer, static_cast<int64_t>(i), x, batch, cache);
    const at::Tensor wide = activate(at::addmm(layer.up.bias, norm(x, layer.feed_forward_norm), layer.up.weight));
    x = x.add(at::addmm(layer.down.bias, wide, layer.down.weight));
  }
  return norm(x, final_norm_);
}

}  // namespace prudent::models
