#include <ATen/ops/index_select.h>

#include "kernels/embedding/embedding.h"

namespace prudent::kernels {

at::Tensor embedding_reference(const at::Tensor& weight, const at::Tensor& ids) { return at::index_select(weight, 0, ids); }

}  // namespace prudent::kernels
