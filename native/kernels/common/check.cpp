#include "kernels/common/check.h"

#include <c10/core/ScalarType.h>

namespace prudent::kernels {

namespace {

template <typename Index>
void check_range_of(const at::Tensor& tensor, const char* argument, int64_t low, int64_t high) {
  const at::Tensor values = tensor.contiguous();
  const Index* data = values.const_data_ptr<Index>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    PRUDENT_CHECK(data[i] >= low && data[i] <= high, "E_RANGE", std::string(argument) + "[" + std::to_string(i) + "]",
                  "a number from " + std::to_string(low) + " to " + std::to_string(high), std::to_string(data[i]));
  }
}

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "no tensor";
  return std::string(c10::toString(tensor.scalar_type())) + " " + shape_text(tensor.sizes()) + " on " + tensor.device().str();
}

void check_shape(const at::Tensor& tensor, const char* argument, std::initializer_list<int64_t> shape) {
  PRUDENT_CHECK(tensor.defined() && tensor.sizes() == at::IntArrayRef(shape), "E_SHAPE", argument,
                "shape " + shape_text(at::IntArrayRef(shape)), describe(tensor));
}

void check_dims(const at::Tensor& tensor, const char* argument, int64_t dims, const char* layout) {
  PRUDENT_CHECK(tensor.defined() && tensor.dim() == dims, "E_SHAPE", argument, std::string("shape ") + layout, describe(tensor));
}

void check_dtype(const at::Tensor& tensor, const char* argument, at::ScalarType dtype) {
  PRUDENT_CHECK(tensor.defined() && tensor.scalar_type() == dtype, "E_DTYPE", argument, c10::toString(dtype), describe(tensor));
}

void check_kernel_dtype(const at::Tensor& tensor, const char* argument) {
  PRUDENT_CHECK(tensor.defined() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16), "E_DTYPE",
                argument, "float32 or bfloat16", describe(tensor));
}

void check_same_dtype(const at::Tensor& tensor, const char* argument, const at::Tensor& other) {
  check_dtype(tensor, argument, other.scalar_type());
}

void check_same_device(const at::Tensor& tensor, const char* argument, const at::Tensor& other) {
  PRUDENT_CHECK(tensor.device() == other.device(), "E_DEVICE", argument, "a tensor on " + other.device().str(), describe(tensor));
}

void check_on_cpu(const at::Tensor& tensor, const char* argument) {
  PRUDENT_CHECK(tensor.defined() && tensor.device().is_cpu(), "E_DEVICE", argument, "a tensor on cpu", describe(tensor));
}

void check_range(const at::Tensor& tensor, const char* argument, int64_t low, int64_t high) {
  if (!tensor.device().is_cpu()) return;
  if (tensor.scalar_type() == at::kInt) {
    check_range_of<int32_t>(tensor, argument, low, high);
  } else {
    check_range_of<int64_t>(tensor, argument, low, high);
  }
}

}  // namespace prudent::kernels
