// AdamW over the parameters of a model: clipping of the global gradient norm, fp32 master weights of bf16 parameters, fp32
// accumulation of bf16 gradients, and a state that is written and read bit-exactly.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/common/gradient_sums.h"
#include "models/model.h"

namespace prudent::training {

// Which parameters weight_decay applies to. Matrices (the default) is what the Hugging Face Trainer does: neither biases
// nor norm gains, that is, no parameter of fewer than two dimensions. All is torch.optim.AdamW over model.parameters().
enum class WeightDecayScope { Matrices, All };

struct OptimizerOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  WeightDecayScope decay_scope = WeightDecayScope::Matrices;
  double max_grad_norm = 0.0;  // global 2-norm; 0: gradients are not clipped
};

class Optimizer {
 public:
  // E_RANGE for an option outside its range. The tensors are the parameters themselves, updated in place.
  Optimizer(models::NamedTensors parameters, const OptimizerOptions& options);

  // E_STATE unless `parameters` are still the tensors that the optimiser was made with: heads set or added since would not be
  // trained.
  void check_parameters(const models::NamedTensors& parameters) const;

  // Forget all gradients, also those of an abandoned step.
  void drop_gradients();
  // Backward of a micro-batch, its gradients added to those of the step so far: in fp32, unless it is the step's only one, so
  // that sums over micro-batches are not rounded to 8 bits each time.
  void backward(const at::Tensor& loss, bool only_one);
  // The losses of the whole step count as 0: the moments decay, the weights still move (classic TRL's ratio threshold).
  void zero_gradients();

  // Global 2-norm of the gradients; E_NON_FINITE when it is not finite, with nothing changed.
  [[nodiscard]] double gradient_norm() const;
  // Clip, update, drop the gradients -> the norm before clipping. Checks the norm before the first write.
  double step(double lr);

  [[nodiscard]] int64_t steps() const { return step_; }
  // One safetensors file: <name>.moment1, <name>.moment2, <name>.master (bf16 parameters only), the step count in its metadata,
  // and `extra` as they are. Written beside and renamed.
  void save(const std::string& file, const models::NamedTensors& extra = {}) const;
  // E_CORRUPT_FILE, E_MISSING_TENSOR, E_SHAPE when the file is of other parameters; nothing changes then. `extra` are filled.
  void load(const std::string& file, const models::NamedTensors& extra = {});

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;                     // of the model, carries the gradient
    kernels::AdamwParameter state;            // gradient is set for each step
    std::optional<kernels::GradientSum> sum;  // of what this step's backwards gave, where autograd does not keep it
  };
  // The tensors of the state themselves, by the names they have in the file.
  [[nodiscard]] models::NamedTensors state_tensors(const models::NamedTensors& extra) const;
  [[nodiscard]] at::Tensor gradient(const Slot& slot) const;  // undefined when the parameter took no part

  OptimizerOptions options_;
  std::vector<Slot> slots_;
  int64_t step_ = 0;
};

}  // namespace prudent::training
