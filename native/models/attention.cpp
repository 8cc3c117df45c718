#include "models/attention.h"

#include <ATen/ops/cat.h>

namespace prudent::models {

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const ForwardPass& pass, bool last_block,
                  int64_t layer, double scale) {
  KvCache* const cache = pass.cache();
  const auto behind_kept = [&](at::Tensor (KvCache::*part)(int64_t) const, const at::Tensor& own) {
    return pass.kept() == nullptr ? own : at::cat({(pass.kept()->*part)(layer).select(0, 0), own});
  };
  if (cache != nullptr) cache->store(layer, k, v);
  const at::Tensor out =
      cache != nullptr && !cache->prefilling()
          ? kernels::cached_attention(q, cache->keys(layer), cache->values(layer), cache->length_tensor(), scale)
          : kernels::packed_attention(q, behind_kept(&KvCache::keys, k), behind_kept(&KvCache::values, v),
                                      pass.layout(last_block), scale);
  return out.reshape({q.size(0), q.size(1) * q.size(2)});
}

}  // namespace prudent::models
