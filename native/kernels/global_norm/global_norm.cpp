#include "kernels/global_norm/global_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/transfer.h"
#include "kernels/common/run_kernel.h"
#include "kernels/global_norm/global_norm_kernel.h"

namespace prudent::kernels {

namespace {

void check_entry(const at::Tensor& tensor, size_t index, const at::Tensor& first) {
  // The name is put together on failure only: this runs for every parameter of every step.
  const bool fits = tensor.defined() && tensor.is_contiguous() && tensor.device() == first.device() &&
                    (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16);
  PRUDENT_CHECK(fits, "E_SHAPE", "tensors[" + std::to_string(index) + "]",
                "a contiguous float32 or bfloat16 tensor on the device of the first", describe(tensor));
}

void add_stretches(const at::Tensor& tensor, std::vector<NormStretch>& stretches) {
  const auto* data = static_cast<const char*>(tensor.const_data_ptr());
  const bool bf16 = tensor.scalar_type() == at::kBFloat16;
  for (int64_t first = 0; first < tensor.numel(); first += kNormStretch) {
    stretches.push_back({data + first * tensor.element_size(), std::min(kNormStretch, tensor.numel() - first), bf16});
  }
}

}  // namespace

double global_norm(const std::vector<at::Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) check_entry(tensors[i], i, tensors.front());
  if (tensors.empty()) return 0.0;
  check_device(tensors.front(), "tensors[0]");
  std::vector<NormStretch> stretches;
  for (const at::Tensor& tensor : tensors) add_stretches(tensor, stretches);
  if (stretches.empty()) return 0.0;
  const at::Device device = tensors.front().device();
  const auto count = static_cast<int64_t>(stretches.size()), bytes = count * static_cast<int64_t>(sizeof(NormStretch));
  const at::Tensor entries = to_device(at::from_blob(stretches.data(), {bytes}, at::kByte), device);
  const at::Tensor sums = at::empty({count}, at::TensorOptions().dtype(at::kDouble).device(device));
  const GlobalNormArgs args{static_cast<const NormStretch*>(entries.const_data_ptr()), sums.mutable_data_ptr<double>(), count};
  PRUDENT_RUN_KERNEL(global_norm_run, args, tensors.front());
  const at::Tensor host = sums.cpu();
  return std::sqrt(std::accumulate(host.const_data_ptr<double>(), host.const_data_ptr<double>() + count, 0.0));
}

}  // namespace prudent::kernels
