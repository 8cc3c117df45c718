#include "core/transfer.h"

#include <ATen/ops/empty.h>

namespace prudent {

at::Tensor to_device(const at::Tensor& host, const at::Device& device) {
  if (!device.is_cuda()) return host.to(device);
  const at::Tensor locked = at::empty(host.sizes(), host.options().pinned_memory(true));
  locked.copy_(host);
  return locked.to(device, /*non_blocking=*/true);  // the allocator keeps the memory until the copy is done
}

}  // namespace prudent
