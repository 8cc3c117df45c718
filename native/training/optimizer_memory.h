// Where an optimiser's fp32 state lies: in memory on the parameters' device, or in a mapped file, of which only the part that is
// being updated is resident.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/scratch_file.h"

namespace prudent::training {

class OptimizerMemory {
 public:
  // An empty `folder`: memory. Otherwise `bytes` of a scratch file in that folder (CPU only, E_UNSUPPORTED).
  OptimizerMemory(const std::string& folder, int64_t numbers, int64_t tensors, const at::Device& device);

  // fp32 zeros in the shape of `like`.
  at::Tensor zeros_like(const at::Tensor& like);
  [[nodiscard]] bool is_mapped() const { return file_ != nullptr; }
  // Lets the pages of [first, first + count) of a flat tensor of zeros_like() go; a no-op in memory.
  void release(const at::Tensor& tensor, int64_t first, int64_t count) const;

 private:
  std::shared_ptr<ScratchFile> file_;
  int64_t used_ = 0;
};

}  // namespace prudent::training
