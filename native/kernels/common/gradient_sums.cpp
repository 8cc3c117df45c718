#include "kernels/common/gradient_sums.h"

#include <ATen/ops/empty.h>

#include <utility>

#include "kernels/matmul/matmul.h"

namespace prudent::kernels {

namespace {

// A backward on the CPU runs on the thread that asked for it.
thread_local const GradientSums* active = nullptr;

}  // namespace

void GradientSum::allocate() {
  if (!values_.defined()) values_ = at::empty(shape_, options_);
}

void GradientSum::add_product(const at::Tensor& left, const at::Tensor& right) {
  add_rows(0, left, right);
  finish_rows();
}

void GradientSum::add_rows(int64_t first_row, const at::Tensor& left, const at::Tensor& right) {
  allocate();
  at::Tensor rows = values_.narrow(0, first_row, left.size(0));
  if (holds_ && dtype() != at::kFloat) {
    rows.add_(kernels::matmul(left, right));
  } else {
    matmul_into(rows, left, right, /*accumulate=*/holds_);
  }
}

void GradientSum::add(const at::Tensor& gradient) {
  allocate();
  holds_ ? values_.add_(gradient) : values_.copy_(gradient);
  holds_ = true;
}

void GradientSum::become(at::Tensor values) {
  values_ = std::move(values);
  holds_ = true;
}

const at::Tensor& GradientSum::opened() {
  allocate();
  if (!std::exchange(holds_, true)) values_.zero_();
  return values_;
}

ActiveGradientSums::ActiveGradientSums(const GradientSums& sums) : before_(active) { active = &sums; }
ActiveGradientSums::~ActiveGradientSums() { active = before_; }

GradientSum* gradient_sum_of(const at::Tensor& weight) {
  if (active == nullptr) return nullptr;
  const auto found = active->find(weight.unsafeGetTensorImpl());
  return found == active->end() ? nullptr : found->second;
}

at::Tensor weight_gradient_product(const at::Tensor& weight, const at::Tensor& left, const at::Tensor& right) {
  GradientSum* const sum = gradient_sum_of(weight);
  if (sum == nullptr) return kernels::matmul(left, right);
  sum->add_product(left, right);
  return {};
}

}  // namespace prudent::kernels
