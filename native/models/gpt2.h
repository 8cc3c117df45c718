// GPT-2: learned positions, LayerNorm, fused q/k/v, weights stored [in, out] (transformers' Conv1D).
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/matmul/int8_weights.h"
#include "models/forward_pass.h"
#include "models/model.h"

namespace prudent::models {

class Gpt2 final : public Model {
 public:
  Gpt2(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source);
  [[nodiscard]] at::Tensor hidden(const PackedBatch& batch, KvCache* cache, const HiddenOptions& options) const override;
  [[nodiscard]] int64_t block_bytes(int64_t tokens, int64_t asked) const override;

 private:
  struct Affine {
    at::Tensor weight;  // [in, out], or [hidden] of a norm
    at::Tensor bias;    // [out]
    kernels::Int8Weights int8;
  };
  struct Layer {
    Affine attention_norm, qkv, attention_out, feed_forward_norm, up, down;
    kernels::Int8Weights q, kv;  // parts of the last block's qkv, whose queries are fewer
  };
  void quantise_blocks() override;
  Affine take_norm(ParameterSource& source, const std::string& name);
  Affine take_conv(ParameterSource& source, const std::string& name, int64_t in, int64_t out, Init init);
  [[nodiscard]] static std::vector<at::Tensor> parameters_of(const Layer& layer);
  [[nodiscard]] static at::Tensor project(const at::Tensor& x, const Affine& affine);
  [[nodiscard]] static at::Tensor project_onto(const at::Tensor& residual, const at::Tensor& x, const Affine& affine,
                                               bool value_is_read = true);
  [[nodiscard]] static Affine columns(const Affine& affine, int64_t first, int64_t count, const kernels::Int8Weights& int8);
  [[nodiscard]] at::Tensor norm(const at::Tensor& x, const Affine& affine) const;
  [[nodiscard]] at::Tensor block(int64_t index, const at::Tensor& x, const ForwardPass& pass, bool value_is_read) const;
  [[nodiscard]] at::Tensor attention(int64_t index, const at::Tensor& x, const ForwardPass& pass) const;

  at::Tensor token_embedding_;     // [vocab, hidden]
  at::Tensor position_embedding_;  // [positions, hidden]
  std::vector<Layer> layers_;
  Affine final_norm_;
};

}  // namespace prudent::models
