#include "kernels/packed_attention/packed_attention.h"

#include "kernels/common/check.h"

namespace prudent::kernels {

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& cu_seqlens,
                            double scale) {
  return packed_attention_reference(q, k, v, cu_seqlens, scale);
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& k_cache, const at::Tensor& v_cache, const at::Tensor& lengths,
                            double scale) {
  return cached_attention_reference(q, k_cache, v_cache, lengths, scale);
}

}  // namespace prudent::kernels
