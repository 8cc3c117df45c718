// Argument checks of the kernels: every failure names the argument, what was expected and what came.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>

#include "core/error.h"

namespace prudent::kernels {

// "float32 [3, 4] on cpu"
std::string describe(const at::Tensor& tensor);
std::string shape_text(at::IntArrayRef shape);

void check_shape(const at::Tensor& tensor, const char* argument, std::initializer_list<int64_t> shape);
void check_dims(const at::Tensor& tensor, const char* argument, int64_t dims, const char* layout);
void check_dtype(const at::Tensor& tensor, const char* argument, at::ScalarType dtype);
// float32 or bfloat16
void check_kernel_dtype(const at::Tensor& tensor, const char* argument);
void check_same_dtype(const at::Tensor& tensor, const char* argument, const at::Tensor& other);
void check_same_device(const at::Tensor& tensor, const char* argument, const at::Tensor& other);
void check_on_cpu(const at::Tensor& tensor, const char* argument);
// Every element of a 1-D int64 or int32 tensor in [low, high]; tensors on another device are not read.
void check_range(const at::Tensor& tensor, const char* argument, int64_t low, int64_t high);

}  // namespace prudent::kernels
