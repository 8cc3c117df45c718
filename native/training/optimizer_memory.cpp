#include "training/optimizer_memory.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros_like.h>

#include "core/error.h"

namespace prudent::training {
namespace {

constexpr int64_t kAlignment = 64;  // a cache line; each tensor begins at one

}  // namespace

OptimizerMemory::OptimizerMemory(const std::string& folder, int64_t numbers, int64_t tensors, const at::Device& device) {
  if (folder.empty()) return;
  PRUDENT_CHECK(device.is_cpu(), "E_UNSUPPORTED", "stateFolder", "parameters on the CPU", device.str());
  file_ = ScratchFile::create(folder, numbers * static_cast<int64_t>(sizeof(float)) + tensors * kAlignment);
}

at::Tensor OptimizerMemory::zeros_like(const at::Tensor& like) {
  if (!is_mapped()) return at::zeros_like(like, at::kFloat).contiguous();
  const int64_t bytes = like.numel() * static_cast<int64_t>(sizeof(float));
  PRUDENT_CHECK(used_ + bytes <= file_->size(), "E_INTERNAL", "state", "room in the file", std::to_string(used_ + bytes));
  const auto deleter = [file = file_](void*) {};
  const at::Tensor tensor = at::from_blob(file_->data() + used_, like.sizes(), deleter, at::kFloat);
  used_ = (used_ + bytes + kAlignment - 1) / kAlignment * kAlignment;
  return tensor;
}

void OptimizerMemory::release(const at::Tensor& tensor, int64_t first, int64_t count) const {
  if (!is_mapped()) return;
  const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
  const auto width = static_cast<int64_t>(sizeof(float));
  file_->release((data - file_->data()) + first * width, count * width);
}

}  // namespace prudent::training
