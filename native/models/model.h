// A decoder-only transformer from a Hugging Face folder (Gemma 1, Llama, GPT-2) with whichever heads it has: the LM head of a
// causal model, n reward heads of a sequence classifier, a value head of a PPO policy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/job.h"
#include "core/safetensors.h"
#include "models/config.h"
#include "models/packed_batch.h"

namespace prudent::models {

using prudent::NamedTensors;

enum class Task { CausalLm, SequenceClassification };

// How a parameter begins when no file holds it.
enum class Init { Normal, ResidualNormal, Zero, One, Head, ValueHead };

struct LoadOptions {
  Task task = Task::CausalLm;
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  // Task differs from what the folder holds: build the missing head, N(0, 0.02^2) for score, from this seed. Otherwise a
  // missing head is E_MISSING_TENSOR. num_labels < 0 means as in the config.
  bool allow_new_head = false;
  int64_t num_labels = -1;
  uint64_t seed = 0;
  // Of a frozen model on the CPU: the blocks' products in 8-bit integers (kernels/matmul/int8_weights.h).
  bool int8 = false;
};

// Activation checkpointing: a backward keeps the inputs of blocks alone and runs the blocks again. The last blocks keep all that
// they need, as many as fit into activation_bytes: the backward comes to them first, and frees them before it runs any again.
struct Checkpointing {
  bool enabled = false;
  // Of one forward; none: what one block takes, since running one again takes that anyway.
  std::optional<int64_t> activation_bytes;
};

struct HiddenOptions {
  // [read] int64 on the CPU, ascending: the tokens whose hidden states are wanted; undefined: all. The last block computes the
  // rest of its keys and values only.
  at::Tensor rows;
  Checkpointing checkpoint;
  // Layers whose hidden states are wanted, ascending, 1 for the first block's; each goes through the final norm, and they lie
  // side by side: [tokens or read, layers * hidden]. Blocks above the last of them are not run. Empty: the last layer.
  std::vector<int64_t> layers;
};

// What scores a text instead of score.weight: reward heads, then the rows F of a spread whose |F x|^2 is the variance of the
// reward, on the last-token features x of one or several layers. In fp32, whatever the model's dtype: a factor's rows nearly
// cancel.
struct Readout {
  at::Tensor weight;  // [heads + spread, layers * hidden] fp32
  int64_t heads = 0;
  int64_t spread = 0;
  std::vector<int64_t> layers;  // as HiddenOptions.layers, not empty
};

class ForwardPass;
class KvCache;
class ParameterSource;

class Model {
 public:
  static std::shared_ptr<Model> load(const std::string& folder, const LoadOptions& options, const Job& job);
  // Random weights, transformers' initialisation (N(0, initializer_range^2), norms at their neutral value), seeded by name.
  static std::shared_ptr<Model> create(const std::string& config_json, const LoadOptions& options);
  virtual ~Model() = default;

  // Hugging Face layout: config.json, model.safetensors (sharded above max_shard_bytes); written beside and renamed.
  void save(const std::string& folder, int64_t max_shard_bytes, const Job& job) const;
  // A deep copy on the same device.
  [[nodiscard]] std::shared_ptr<Model> clone() const;

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] Task task() const { return task_; }
  [[nodiscard]] at::Device device() const;
  [[nodiscard]] at::ScalarType dtype() const;
  [[nodiscard]] int64_t parameter_bytes() const;

  // Hidden states after the final norm, [tokens or read, hidden]. Part of the autograd graph when grad mode is on and parameters
  // require gradients. `cache`, when given, is filled (prefill: an empty cache) or extended (one token a row); no gradient then.
  [[nodiscard]] virtual at::Tensor hidden(const PackedBatch& batch, KvCache* cache = nullptr,
                                          const HiddenOptions& options = {}) const = 0;
  // What one block keeps for a backward, its input aside, in a forward of so many tokens whose queries are `asked` of them.
  // Without the few numbers a token that norms and attention keep.
  [[nodiscard]] virtual int64_t block_bytes(int64_t tokens, int64_t asked) const = 0;
  // [tokens, vocab] for chosen rows of `hidden`; small uses only (generation), training goes through token_logprob.
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const;
  // [rows, hidden]: each row's last token.
  [[nodiscard]] at::Tensor last_hidden(const PackedBatch& batch, const Checkpointing& checkpoint = {}) const;
  // [rows, num_labels] fp32: score head at each row's last token.
  [[nodiscard]] at::Tensor scores(const PackedBatch& batch, const Checkpointing& checkpoint = {}) const;
  // [rows, layers * hidden]: each row's last token at several layers.
  [[nodiscard]] at::Tensor layer_features(const PackedBatch& batch, const std::vector<int64_t>& layers) const;
  // [rows, heads + spread] fp32 from the readout, which there must be.
  [[nodiscard]] at::Tensor readout_scores(const PackedBatch& batch) const;
  // [tokens] fp32 from the value head.
  [[nodiscard]] at::Tensor values(const at::Tensor& hidden) const;

  [[nodiscard]] const at::Tensor& lm_weight() const;     // [vocab, hidden]; E_NO_HEAD for a classifier
  [[nodiscard]] const at::Tensor& score_weight() const;  // [num_labels, hidden]; E_NO_HEAD for a causal model
  // [n, hidden] any n: also changes config().num_labels, and takes a readout away
  void set_score_weight(const at::Tensor& weight);
  // Not a parameter: neither trained nor part of save(). E_SHAPE, E_RANGE, E_NON_FINITE, E_NO_HEAD; nullopt takes it away.
  void set_readout(std::optional<Readout> readout);
  [[nodiscard]] const std::optional<Readout>& readout() const { return readout_; }
  [[nodiscard]] bool has_value_head() const;
  void add_value_head(uint64_t seed);  // TRL's: Linear(hidden, 1) with bias, PyTorch's default init, fp32

  // The beginning that texts for this model have in common (a chat template's, a system prompt's), from now on; empty: none.
  // E_RANGE, E_TOO_LONG for ids that leave a row no room.
  void set_prefix(std::vector<int32_t> ids);
  [[nodiscard]] std::vector<int32_t> prefix() const;
  // Its keys and values, one row of a cache that nobody changes: computed when first asked for, and again when a parameter has
  // changed since. A forward of its own, so that what continues it does not depend on what came before. nullptr without a prefix.
  [[nodiscard]] std::shared_ptr<const KvCache> kept_prefix() const;

  // What generation keeps from one call to the next (buffers and recorded forwards on CUDA), made when first asked for.
  [[nodiscard]] std::shared_ptr<void> generation_state(const std::function<std::shared_ptr<void>()>& make) const;

  // From now on the blocks' products run in 8-bit integers; parameters stay as they are, and cannot be trained any more.
  // Embedding, norms, attention and heads stay in the model's dtype. E_DEVICE for models that are not on the CPU.
  void quantise();
  [[nodiscard]] bool is_quantised() const { return quantised_; }

  // Every parameter once, by its Hugging Face name, in a fixed order (tied weights appear once).
  [[nodiscard]] NamedTensors parameters() const;
  void set_requires_grad(bool value);  // E_STATE for a quantised model

 protected:
  virtual void quantise_blocks() = 0;
  // How many blocks, from the first on, the backward of this forward runs again.
  [[nodiscard]] int64_t checkpointed_blocks(const ForwardPass& pass, const Checkpointing& checkpoint) const;
  Model(ModelConfig config, Task task, at::ScalarType dtype);
  // Takes one parameter from where the weights come from and keeps it under its Hugging Face name. Constructors call it in
  // the order of parameters().
  at::Tensor take(ParameterSource& source, const std::string& name, std::vector<int64_t> shape, Init init);
  // The heads come after the decoder's own parameters; `embedding` is the LM head of tied models.
  void take_heads(ParameterSource& source, const at::Tensor& embedding);

  ModelConfig config_;
  Task task_ = Task::CausalLm;
  at::ScalarType dtype_ = at::kFloat;

 private:
  static std::shared_ptr<Model> build(ModelConfig config, Task task, at::ScalarType dtype, ParameterSource& source);
  void keep(const std::string& name, const at::Tensor& tensor);
  [[nodiscard]] std::shared_ptr<const KvCache> compute_prefix() const;
  // Grows with every change of a parameter in place.
  [[nodiscard]] int64_t parameter_version() const;

  NamedTensors parameters_;
  bool quantised_ = false;
  at::Tensor lm_weight_;     // [vocab, hidden]; the embedding itself when tied
  at::Tensor score_weight_;  // [num_labels, hidden]
  at::Tensor value_weight_;  // [1, hidden] fp32
  at::Tensor value_bias_;    // [1] fp32
  std::optional<Readout> readout_;
  mutable std::mutex prefix_mutex_;
  std::vector<int32_t> prefix_;
  mutable std::shared_ptr<const KvCache> kept_prefix_;
  mutable int64_t kept_version_ = 0;  // of the parameters that it was computed with
  mutable std::mutex generation_mutex_;
  mutable std::shared_ptr<void> generation_state_;
};

}  // namespace prudent::models
