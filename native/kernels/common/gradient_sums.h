// Where gradients of weights add up over the backwards of one training step. While a set of sums is active on a thread, a product
// that makes a weight's gradient (linear, gated_linear, token_logprob, embedding) adds it to the weight's sum instead of handing
// it to autograd: gradients of bf16 weights are not rounded before they are added up in fp32, and passes over memory as large as
// the model (round, widen, add) fall away. Gradients that are made in another way reach autograd as ever.
#pragma once

#include <ATen/core/Tensor.h>

#include <unordered_map>
#include <vector>

namespace prudent::kernels {

class GradientSum {
 public:
  // Of a weight like this one; fp32, or where nothing more will be added to it than one backward gives, the weight's own dtype.
  GradientSum(const at::Tensor& like, at::ScalarType dtype) : shape_(like.sizes().vec()), options_(like.options().dtype(dtype)) {}

  // += left . right, bf16 or fp32; together the weight's shape, or its rows from first_row on.
  void add_product(const at::Tensor& left, const at::Tensor& right);
  // For products that fill the sum block of rows by block of rows: each row exactly once between these two.
  void add_rows(int64_t first_row, const at::Tensor& left, const at::Tensor& right);
  void finish_rows() { holds_ = true; }
  // += gradient, of any dtype.
  void add(const at::Tensor& gradient);
  // = values, fp32 in the weight's shape.
  void become(at::Tensor values);
  // The values, all 0 if nothing was added yet, for a caller that adds to some of them.
  const at::Tensor& opened();

  // [weight's shape], contiguous; undefined while nothing was added.
  [[nodiscard]] at::Tensor values() const { return holds_ ? values_ : at::Tensor(); }
  [[nodiscard]] at::ScalarType dtype() const { return options_.dtype().toScalarType(); }

 private:
  void allocate();

  std::vector<int64_t> shape_;
  at::TensorOptions options_;
  at::Tensor values_;
  bool holds_ = false;  // else values_, where it is there, has not been written
};

// By weight; the sums must outlive the map.
using GradientSums = std::unordered_map<const at::TensorImpl*, GradientSum*>;

// Makes the sums those of the calling thread for as long as it lives.
class ActiveGradientSums {
 public:
  explicit ActiveGradientSums(const GradientSums& sums);
  ~ActiveGradientSums();
  ActiveGradientSums(const ActiveGradientSums&) = delete;
  ActiveGradientSums& operator=(const ActiveGradientSums&) = delete;

 private:
  const GradientSums* before_;
};

// The sum that takes this very weight's gradient now; null: autograd does.
GradientSum* gradient_sum_of(const at::Tensor& weight);

// left . right, the gradient of the weight: for autograd, or undefined when the weight's sum has taken it.
at::Tensor weight_gradient_product(const at::Tensor& weight, const at::Tensor& left, const at::Tensor& right);

}  // namespace prudent::kernels
