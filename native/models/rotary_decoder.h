// Gemma 1 and Llama: RMSNorm, rotary attention with grouped keys and values, gated feed-forward. They differ in the norm's
// gain (weight or 1 + weight), the scale of the embeddings, the activation and which projections have a bias.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/matmul/int8_weights.h"
#include "models/forward_pass.h"
#include "models/model.h"
#include "models/rope.h"

namespace prudent::models {

class RotaryDecoder final : public Model {
 public:
  RotaryDecoder(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source);
  [[nodiscard]] at::Tensor hidden(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options) const override;
  [[nodiscard]] int64_t block_bytes(int64_t tokens, int64_t asked) const override;

 private:
  struct Projection {
    at::Tensor weight;  // [out, in]
    at::Tensor bias;    // [out] or undefined
    kernels::Int8Weights int8;
  };
  struct Layer {
    at::Tensor attention_norm, feed_forward_norm;  // [hidden]
    Projection q, k, v, o, gate, up, down;         // up.int8 holds the gate too
  };
  void quantise_blocks() override;
  Projection take_projection(ParameterSource& source, const std::string& name, int64_t out, int64_t in, bool bias);
  [[nodiscard]] static std::vector<at::Tensor> parameters_of(const Layer& layer);
  [[nodiscard]] at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const;
  [[nodiscard]] at::Tensor block(int64_t index, const at::Tensor& x, const ForwardPass& pass, bool value_is_read) const;
  [[nodiscard]] at::Tensor attention(int64_t index, const at::Tensor& x, const ForwardPass& pass) const;
  [[nodiscard]] at::Tensor feed_forward(const Layer& layer, const at::Tensor& x, bool value_is_read) const;

  bool unit_offset_;
  double embedding_scale_;  // as the weights' dtype rounds it
  at::Tensor embedding_;    // [vocab, hidden]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;  // [hidden]
  RopeTable rope_;
};

}  // namespace prudent::models
