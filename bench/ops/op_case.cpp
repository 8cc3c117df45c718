#include "op_case.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "core/device.h"
#include "core/error.h"

namespace prudent::bench {

namespace {

using Make = OpCase (*)(const Json&, const at::Device&);

constexpr std::pair<const char*, Make> kCases[] = {
    {"rms_norm", rms_norm_case},
    {"layer_norm", layer_norm_case},
    {"rotary", rotary_case},
    {"geglu", geglu_case},
    {"activation_backward", activation_backward_case},
    {"embedding", embedding_case},
    {"matmul", matmul_case},
    {"linear", linear_case},
    {"gated_linear", gated_linear_case},
    {"token_logprob", token_logprob_case},
    {"multi_head", multi_head_case},
    {"sample", sample_case},
    {"packed_attention", packed_attention_case},
    {"cached_attention", cached_attention_case},
    {"bradley_terry", bradley_terry_case},
    {"ppo_loss", ppo_loss_case},
    {"variance_kl_advantage", variance_kl_advantage_case},
    {"adamw", adamw_case},
    {"global_norm", global_norm_case},
};

constexpr std::pair<const char*, Pass> kPasses[] = {
    {"forward", Pass::Forward}, {"backward", Pass::Backward}, {"both", Pass::Both}};

// Weights of the outputs in the loss whose gradient is taken.
Tensors output_weights(const Tensors& outputs) {
  Tensors weights;
  for (size_t i = 0; i < outputs.size(); ++i) {
    weights.push_back(normal(outputs[i].sizes(), 900 + i).to(outputs[i].device(), outputs[i].scalar_type()));
  }
  return weights;
}

Tensors leaves_of(const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_());
  return leaves;
}

Tensors with_graph(const Function& function, const Tensors& leaves) {
  const c10::AutoGradMode on(true);
  return function(leaves);
}

Tensors without_graph(const Function& function, const Tensors& inputs) {
  const c10::AutoGradMode off(false);
  return function(inputs);
}

// Outputs, then the gradients of sum(outputs * weights_of(outputs)) in the inputs.
Tensors with_gradients(const Function& function, const Tensors& inputs,
                       const std::function<Tensors(const Tensors&)>& weights_of) {
  const Tensors leaves = leaves_of(inputs);
  Tensors results = with_graph(function, leaves);
  const Tensors gradients = torch::autograd::grad(results, leaves, weights_of(results));
  for (at::Tensor& result : results) result = result.detach();
  results.insert(results.end(), gradients.begin(), gradients.end());
  return results;
}

Tensors widened(Tensors tensors) {
  for (at::Tensor& tensor : tensors) {
    if (tensor.scalar_type() == at::kBFloat16) tensor = tensor.to(at::kFloat);
  }
  return tensors;
}

}  // namespace

OpCase make_op_case(const Json& spec, const at::Device& device) {
  const std::string& name = member(spec, "op").as_string("op");
  for (const auto& [known, make] : kCases) {
    if (name == known) return make(spec, device);
  }
  fail("E_RANGE", "op", "an operation of bench/ops", name);
}

Pass parse_pass(const std::string& name) {
  for (const auto& [known, pass] : kPasses) {
    if (name == known) return pass;
  }
  fail("E_RANGE", "pass", "forward, backward or both", name);
}

const char* pass_name(Pass pass) { return kPasses[static_cast<size_t>(pass)].first; }

Tensors evaluate(const OpCase& op, Implementation which) {
  const Function& function = op.checked(which);
  return op.differentiable ? with_gradients(function, op.inputs, output_weights) : without_graph(function, op.inputs);
}

Tensors evaluate_truth(const OpCase& op) {
  const Function& function = op.checked(Implementation::Reference);
  if (!op.differentiable) return without_graph(function, widened(op.inputs));
  // The weights of the outputs are bf16 where the outputs of the bf16 case are.
  const Tensors rounded = without_graph(function, op.inputs);
  return with_gradients(function, widened(op.inputs), [&](const Tensors&) { return widened(output_weights(rounded)); });
}

std::function<void()> make_body(const OpCase& op, Implementation which, Pass pass) {
  const Function& function = op.function(which);
  if (!op.differentiable || pass == Pass::Forward) {
    return [function, inputs = op.inputs] { without_graph(function, inputs); };
  }
  const Tensors leaves = leaves_of(op.inputs);
  const Tensors outputs = with_graph(function, leaves);
  const Tensors weights = output_weights(outputs);
  if (pass == Pass::Backward) {
    return [leaves, outputs, weights] { torch::autograd::grad(outputs, leaves, weights, /*retain_graph=*/true); };
  }
  return [function, leaves, weights] { torch::autograd::grad(with_graph(function, leaves), leaves, weights); };
}

const Json& member(const Json& object, const char* name) {
  const Json* found = object.find(name);
  PRUDENT_CHECK(found != nullptr, "E_TYPE", name, "a value", "nothing");
  return *found;
}

int64_t size_of(const Json& spec, const char* name) { return member(spec, name).as_int(name); }

at::ScalarType dtype_of(const Json& spec) { return parse_dtype(member(spec, "dtype").as_string("dtype"), at::kCPU); }

at::Tensor normal(at::IntArrayRef shape, uint64_t seed, double scale) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions().dtype(at::kFloat)) * scale;
}

at::Tensor response_lengths(int64_t batch, int64_t time) {
  std::vector<int32_t> lengths;
  for (int64_t row = 0; row < batch; ++row) lengths.push_back(static_cast<int32_t>(1 + (row * 5) % time));
  lengths[0] = static_cast<int32_t>(time);
  return at::tensor(lengths, at::TensorOptions().dtype(at::kInt));
}

}  // namespace prudent::bench
