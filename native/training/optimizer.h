// AdamW over the parameters of a model: clipping of the global gradient norm, fp32 master weights of bf16 parameters, fp32
// accumulation of bf16 gradients, and a state that is written and read bit-exactly.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/adamw/adamw.h"
#include "kernels/common/gradient_sums.h"
#include "models/model.h"
#include "training/gradient_reducer.h"
#include "training/optimizer_memory.h"

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
  // Folder for a nameless file that holds moments and master weights (CPU only); empty: they are in memory.
  std::string state_folder;
  // Each parameter is updated inside the backward, and its gradient dropped at once; see step_in_backward.
  bool update_in_backward = false;
  // The ranks that train together: gradients are summed over them. Null: this process is alone.
  Group group;
  // Each rank keeps moments and master weights of its share of the parameters, updates those and sends them to the others
  // (ZeRO-1, Rajbhandari et al. 2020). save() is then called by all ranks.
  bool shard_states = false;
  // Gradients are summed in buckets of at most this size (in fp32).
  int64_t bucket_bytes = GradientReducer::kBucketBytes;
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
  // With a group: start_reducing() just before the last backward, so that gradients travel while it runs; finish_reducing() after
  // it, also on a rank that had no backward. From then on every rank holds the sums over all. No-ops in a process that is alone.
  void start_reducing();
  void finish_reducing();
  [[nodiscard]] const Group& group() const { return options_.group; }
  // The losses of the whole step count as 0: the moments decay, the weights still move (classic TRL's ratio threshold).
  void zero_gradients();

  // Global 2-norm of the gradients; E_NON_FINITE when it is not finite, with nothing changed.
  [[nodiscard]] double gradient_norm() const;
  // Clip, update, drop the gradients -> the norm before clipping. Checks the norm before the first write.
  double step(double lr);

  // One forward and backward() of each micro-batch of the step, and before_last() just before the backward of the last one.
  using BackwardPass = std::function<void(const std::function<void()>& before_last)>;
  // All backwards of a step, summed over the ranks. -> the norm before clipping where the update was taken inside them
  // (update_in_backward); else nothing, and step() is due.
  std::optional<double> run(double lr, const BackwardPass& pass);

  [[nodiscard]] int64_t steps() const { return step_; }
  // One safetensors file: <name>.moment1, <name>.moment2, <name>.master (bf16 parameters only), the step count in its metadata,
  // and `extra` as they are. Written beside and renamed. Where states are sharded all ranks call it, those that do not write
  // with an empty name; the file is that of a single process.
  void save(const std::string& file, const models::NamedTensors& extra = {}) const;
  // E_CORRUPT_FILE, E_MISSING_TENSOR, E_SHAPE when the file is of other parameters; nothing changes then. `extra` are filled.
  void load(const std::string& file, const models::NamedTensors& extra = {});

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;                     // of the model, carries the gradient
    kernels::AdamwParameter state;            // gradient is set for each step
    std::optional<kernels::GradientSum> sum;  // of what this step's backwards gave, where autograd does not keep it
    int owner = 0;                            // the rank that has the state
    bool owned = true;                        // by this rank
  };
  [[nodiscard]] bool is_sharded() const { return options_.shard_states && !distributed::is_alone(options_.group); }
  void make_state(Slot& slot);
  // Of what was updated: each rank gets the others' parameters.
  void share_parameters() const;
  void save_shards(const std::string& file, const models::NamedTensors& extra) const;
  // The tensors of this rank's state themselves, by the names they have in the file.
  [[nodiscard]] models::NamedTensors state_tensors(const models::NamedTensors& extra) const;
  [[nodiscard]] at::Tensor gradient(const Slot& slot) const;  // undefined when the parameter took no part
  // With the sum of earlier micro-batches.
  at::Tensor take_gradient(Slot& slot);
  [[nodiscard]] kernels::AdamwOptions adamw_options(double lr, double norm) const;
  // Part by part where the state is mapped.
  void update(const Slot& slot, const at::Tensor& gradient, const kernels::AdamwOptions& adamw) const;
  // The same update as step(), taken inside the last backward: at no time do more gradients exist than those in flight. With
  // several micro-batches the sums of the earlier ones are there all the same, and the last one's gradients of bf16 weights are
  // rounded to bf16 before they are added. Clipping needs the norm before the first update,
  // so with max_grad_norm > 0 `pass` runs twice, the first time to measure. Without, a gradient that is not finite
  // (E_NON_FINITE) leaves the parameters updated that came before it. -> the norm before clipping.
  double step_in_backward(double lr, const BackwardPass& pass);
  // `each` of every slot's gradient as the backward finishes it, or after it; -> the global norm.
  double pass_in_backward(const BackwardPass& pass, const std::function<void(const Slot&, const at::Tensor&)>& each);

  OptimizerOptions options_;
  OptimizerMemory memory_;
  std::unique_ptr<GradientReducer> reducer_;  // while a step reduces
  // Gradients are taken as the backward finishes them: all of them come by way of autograd then, which knows when that is.
  bool taken_in_backward_ = false;
  std::vector<Slot> slots_;
  int64_t step_ = 0;
};

}  // namespace prudent::training
