#include "models/attention.h"

namespace prudent::models {

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const kernels::AttentionLayout& layout,
                  KvCache* cache, int64_t layer, double scale) {
  if (cache != nullptr) cache->store(layer, k, v);
  const at::Tensor out =
      cache != nullptr && !cache->prefilling()
          ? kernels::cached_attention(q, cache->keys(layer), cache->values(layer), cache->length_tensor(), scale)
          : kernels::packed_attention(q, k, v, layout, scale);
  return out.reshape({q.size(0), q.size(1) * q.size(2)});
}

}  // namespace prudent::models
