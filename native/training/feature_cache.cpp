#include "training/feature_cache.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include "core/error.h"
#include "core/safetensors.h"
#include "training/inference.h"

namespace prudent::training {

std::shared_ptr<FeatureCache> FeatureCache::compute(const models::Model& model, const TokenRows& rows, int64_t batch_tokens,
                                                    const Job& job, bool share_prefixes, const std::vector<int64_t>& layers,
                                                    const Group& group) {
  return std::make_shared<FeatureCache>(feature_rows(model, rows, batch_tokens, job, share_prefixes, layers, group));
}

FeatureCache::FeatureCache(at::Tensor features) : features_(std::move(features)) {
  PRUDENT_CHECK(features_.dim() == 2 && features_.size(0) >= 1 && features_.size(1) >= 1, "E_SHAPE", "features", "[rows, hidden]",
                std::to_string(features_.dim()) + " dimensions, " + std::to_string(features_.numel()) + " values");
  PRUDENT_CHECK(features_.scalar_type() == at::kFloat && features_.device().is_cpu(), "E_DTYPE", "features", "float32 on the CPU",
                toString(features_.scalar_type()));
  features_ = features_.contiguous();
}

std::shared_ptr<FeatureCache> FeatureCache::load(const std::string& file) {
  const auto source = SafetensorsFile::open(file);
  PRUDENT_CHECK(source->contains("features"), "E_MISSING_TENSOR", file, "tensor features", "a file without it");
  // Copied: the file may be replaced while its features are in use.
  return std::make_shared<FeatureCache>(source->tensor("features").clone());
}

void FeatureCache::save(const std::string& file) const { write_safetensors(file, {{"features", features_}}, {}); }

int64_t FeatureCache::rows() const { return features_.size(0); }
int64_t FeatureCache::hidden() const { return features_.size(1); }

std::shared_ptr<FeatureCache> FeatureCache::columns(int64_t first, int64_t count) const {
  PRUDENT_CHECK(first >= 0 && count >= 1 && first <= hidden() - count, "E_RANGE", "columns",
                "columns within [0, " + std::to_string(hidden()) + ")",
                std::to_string(first) + " and " + std::to_string(count) + " more");
  return std::make_shared<FeatureCache>(features_.narrow(1, first, count).clone(at::MemoryFormat::Contiguous));
}

at::Tensor FeatureCache::score(const at::Tensor& weight) const {
  const c10::NoGradGuard no_grad;
  PRUDENT_CHECK(weight.dim() == 2 && weight.size(0) >= 1 && weight.size(1) == hidden(), "E_SHAPE", "weight",
                "[heads, " + std::to_string(hidden()) + "]",
                std::to_string(weight.dim()) + " dimensions, " + std::to_string(weight.numel()) + " values");
  return at::mm(features_, weight.to(at::kCPU, at::kFloat).t());
}

}  // namespace prudent::training
