// One kernel at one shape: ours and its plain reference on the same seeded inputs, as bench/ops/cases.json describes it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "core/json.h"

namespace prudent::bench {

using Tensors = std::vector<at::Tensor>;
using Function = std::function<Tensors(const Tensors&)>;

enum class Implementation { Ours, Reference };
// Forward without a graph; backward over a graph that is kept; both, as a training step runs them.
enum class Pass { Forward, Backward, Both };

struct OpCase {
  Function ours, reference;
  // What is checked where it cannot be what is timed (two samplers draw different tokens); empty: the same function.
  Function check_ours, check_reference;
  Tensors inputs;
  // Outputs carry a graph back to the inputs. False: one call does all there is (losses with their gradients, updates, draws).
  bool differentiable = true;
  // Bytes that must be read and written at least, by pass; 0 where the operation is not bound by memory.
  double forward_bytes = 0, backward_bytes = 0;

  [[nodiscard]] const Function& function(Implementation which) const { return which == Implementation::Ours ? ours : reference; }
  [[nodiscard]] const Function& checked(Implementation which) const {
    const Function& own = which == Implementation::Ours ? check_ours : check_reference;
    return own ? own : function(which);
  }
  [[nodiscard]] double bytes(Pass pass) const {
    return (pass == Pass::Backward ? 0 : forward_bytes) + (pass == Pass::Forward ? 0 : backward_bytes);
  }
};

// E_RANGE for an operation without a case here.
OpCase make_op_case(const Json& spec, const at::Device& device);
Pass parse_pass(const std::string& name);
const char* pass_name(Pass pass);

// Outputs and, where there are any, the gradients of sum(outputs * fixed random weights) in the inputs.
Tensors evaluate(const OpCase& op, Implementation which);
// The same of the reference in fp32 on the numbers that a bf16 case holds: what bf16 results are held against. An operation that
// keeps its own state (adamw) computes in fp32 as it is.
Tensors evaluate_truth(const OpCase& op);
// The body that a pass times.
std::function<void()> make_body(const OpCase& op, Implementation which, Pass pass);

// Parts of a case's description: E_TYPE with the name of what is absent or of another type.
const Json& member(const Json& object, const char* name);
int64_t size_of(const Json& spec, const char* name);
at::ScalarType dtype_of(const Json& spec);
// N(0, scale^2) of a seed: the very numbers that torch.randn draws from a generator with that seed.
at::Tensor normal(at::IntArrayRef shape, uint64_t seed, double scale = 1.0);
// Valid lengths of the rows of a [batch, time] case, 1 .. time, int32.
at::Tensor response_lengths(int64_t batch, int64_t time);

OpCase rms_norm_case(const Json& spec, const at::Device& device);
OpCase layer_norm_case(const Json& spec, const at::Device& device);
OpCase rotary_case(const Json& spec, const at::Device& device);
OpCase geglu_case(const Json& spec, const at::Device& device);
OpCase activation_backward_case(const Json& spec, const at::Device& device);
OpCase embedding_case(const Json& spec, const at::Device& device);
OpCase matmul_case(const Json& spec, const at::Device& device);
OpCase linear_case(const Json& spec, const at::Device& device);
OpCase gated_linear_case(const Json& spec, const at::Device& device);
OpCase token_logprob_case(const Json& spec, const at::Device& device);
OpCase multi_head_case(const Json& spec, const at::Device& device);
OpCase sample_case(const Json& spec, const at::Device& device);
OpCase packed_attention_case(const Json& spec, const at::Device& device);
OpCase cached_attention_case(const Json& spec, const at::Device& device);
OpCase bradley_terry_case(const Json& spec, const at::Device& device);
OpCase ppo_loss_case(const Json& spec, const at::Device& device);
OpCase variance_kl_advantage_case(const Json& spec, const at::Device& device);
OpCase adamw_case(const Json& spec, const at::Device& device);
OpCase global_norm_case(const Json& spec, const at::Device& device);

}  // namespace prudent::bench
