#include "kernels/embedding/embedding.h"

#include <ATen/ops/embedding.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/gradient_sums.h"
#include "kernels/embedding/embedding_kernel.h"

namespace prudent::kernels {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The tokens of each distinct id, ascending.
struct DistinctRows {
  std::vector<int64_t> tokens, rows, starts;

  explicit DistinctRows(const at::Tensor& ids) : tokens(static_cast<size_t>(ids.numel())) {
    const auto* id = ids.const_data_ptr<int64_t>();
    std::iota(tokens.begin(), tokens.end(), int64_t{0});
    std::stable_sort(tokens.begin(), tokens.end(), [id](int64_t a, int64_t b) { return id[a] < id[b]; });
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (!rows.empty() && rows.back() == id[tokens[i]]) continue;
      rows.push_back(id[tokens[i]]);
      starts.push_back(static_cast<int64_t>(i));
    }
    starts.push_back(static_cast<int64_t>(tokens.size()));
  }
};

void add_rows(const at::Tensor& sums, const at::Tensor& ids, const at::Tensor& grad_y) {
  const DistinctRows distinct(ids);
  const EmbeddingBackward args{.grad_y = grad_y.const_data_ptr(),
                               .tokens = distinct.tokens.data(),
                               .rows = distinct.rows.data(),
                               .starts = distinct.starts.data(),
                               .sums = sums.mutable_data_ptr(),
                               .distinct = static_cast<int64_t>(distinct.rows.size()),
                               .width = sums.size(1),
                               .grad_bf16 = grad_y.scalar_type() == at::kBFloat16,
                               .sums_bf16 = sums.scalar_type() == at::kBFloat16};
  if (grad_y.numel() > 0) PRUDENT_RUN_CPU_KERNEL(embedding_backward, args);
}

struct EmbeddingNode : torch::autograd::Function<EmbeddingNode> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& ids) {
    context->save_for_backward({weight, ids});
    return at::embedding(weight, ids);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &weight = saved[0], grad_y = grads[0].contiguous();
    GradientSum* const sum = gradient_sum_of(weight);
    const at::Tensor grad_weight = sum == nullptr ? at::zeros_like(weight) : at::Tensor();
    add_rows(sum == nullptr ? grad_weight : sum->opened(), saved[1], grad_y);
    return {grad_weight, at::Tensor()};
  }
};

}  // namespace

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& ids) {
  check_kernel_dtype(weight, "weight");
  check_dims(weight, "weight", 2, "[vocab, width]");
  check_dtype(ids, "ids", at::kLong);
  check_dims(ids, "ids", 1, "[tokens]");
  check_same_device(ids, "ids", weight);
  if (!weight.device().is_cpu()) return at::embedding(weight, ids);
  check_range(ids, "ids", 0, weight.size(0) - 1);
  return EmbeddingNode::apply(weight.contiguous(), ids.contiguous());
}

}  // namespace prudent::kernels
