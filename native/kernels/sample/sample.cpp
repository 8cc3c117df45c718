#include "kernels/sample/sample.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/philox.h"
#include "kernels/common/run_kernel.h"
#include "kernels/sample/sample_kernel.h"
#include "kernels/sample/sample_math.h"

namespace prudent::kernels {

namespace {

void check_options(const SampleOptions& options, const at::Tensor& logits) {
  if (options.greedy) return;
  if (options.device_seed.defined()) {
    check_dtype(options.device_seed, "device_seed", at::kLong);
    check_shape(options.device_seed, "device_seed", {1});
    check_same_device(options.device_seed, "device_seed", logits);
    PRUDENT_CHECK(runs_cuda_kernels(logits), "E_DEVICE", "device_seed", "logits on CUDA", describe(logits));
  }
  PRUDENT_CHECK(options.temperature > 0.0, "E_RANGE", "temperature", "a number above 0", std::to_string(options.temperature));
  PRUDENT_CHECK(options.top_k >= 0, "E_RANGE", "top_k", "0 (off) or more", std::to_string(options.top_k));
  PRUDENT_CHECK(options.top_p > 0.0 && options.top_p <= 1.0, "E_RANGE", "top_p", "a number in (0, 1]",
                std::to_string(options.top_p));
}

at::Tensor uniform_of(const at::Tensor& keys, const at::Tensor& steps, uint64_t seed) {
  const at::Tensor uniform = at::empty({keys.size(0)}, keys.options().dtype(at::kFloat));
  float* out = uniform.mutable_data_ptr<float>();
  for (int64_t r = 0; r < keys.size(0); ++r) {
    const Philox4 bits = philox4x32(seed, static_cast<uint64_t>(keys.const_data_ptr<int64_t>()[r]),
                                    static_cast<uint64_t>(steps.const_data_ptr<int64_t>()[r]));
    out[r] = uniform_open(bits.v[0]);
  }
  return uniform;
}

// A task a thread; one alone for a few short rows.
int64_t slot_count(const at::Tensor& logits) {
  return std::min<int64_t>({logits.size(0), at::get_num_threads(), 1 + logits.numel() / 16384});
}

}  // namespace

at::Tensor sample(const at::Tensor& logits, const at::Tensor& row_keys, const at::Tensor& positions, const SampleOptions& options,
                  at::Tensor* logprobs) {
  check_kernel_dtype(logits, "logits");
  check_dims(logits, "logits", 2, "[rows, vocab]");
  PRUDENT_CHECK(logits.size(1) > 0, "E_SHAPE", "logits", "a vocabulary of at least one token", describe(logits));
  for (const auto& [tensor, name] : {std::pair(&row_keys, "row_keys"), std::pair(&positions, "positions")}) {
    check_dtype(*tensor, name, at::kLong);
    check_shape(*tensor, name, {logits.size(0)});
    check_same_device(*tensor, name, logits);
  }
  check_options(options, logits);
  check_device(logits, "logits");
  const bool cuda = runs_cuda_kernels(logits);
  PRUDENT_CHECK(!cuda || logits.size(1) <= kLargestSampleVocab, "E_SHAPE", "logits",
                "at most " + std::to_string(kLargestSampleVocab) + " tokens on CUDA", describe(logits));

  const at::Tensor dense = logits.contiguous(), keys = row_keys.contiguous(), steps = positions.contiguous();
  const at::Tensor ids = at::empty({logits.size(0)}, row_keys.options());
  if (logprobs != nullptr) *logprobs = at::empty({logits.size(0)}, dense.options().dtype(at::kFloat));
  if (logits.size(0) == 0) return ids;
  // The CPU version works in memory that it is given; on CUDA a row's weights are computed again where they are needed.
  const bool draws = !options.greedy && !cuda, filters = draws && (options.top_p < 1.0 || options.top_k > 0);
  const int64_t slots = slot_count(dense);
  const at::Tensor uniform = draws ? uniform_of(keys, steps, options.seed) : at::Tensor();
  const at::Tensor weights = filters ? at::empty({slots, dense.size(1)}, dense.options().dtype(at::kFloat)) : at::Tensor();
  const SampleArgs args{.logits = dense.const_data_ptr(),
                        .row_keys = keys.const_data_ptr<int64_t>(),
                        .positions = steps.const_data_ptr<int64_t>(),
                        .uniform = draws ? uniform.const_data_ptr<float>() : nullptr,
                        .weights = filters ? weights.mutable_data_ptr<float>() : nullptr,
                        .ids = ids.mutable_data_ptr<int64_t>(),
                        .logprobs = logprobs != nullptr ? logprobs->mutable_data_ptr<float>() : nullptr,
                        .rows = dense.size(0),
                        .vocab = dense.size(1),
                        .top_k = options.top_k,
                        .slots = slots,
                        .inverse_temperature = static_cast<float>(1.0 / options.temperature),
                        .top_p = options.top_p,
                        .seed = options.seed,
                        .device_seed = options.device_seed.defined() ? options.device_seed.const_data_ptr<int64_t>() : nullptr,
                        .greedy = options.greedy,
                        .bf16 = dense.scalar_type() == at::kBFloat16};
  PRUDENT_RUN_KERNEL(sample_run, args, logits);
  if (ids.device().is_cpu()) check_sampled(ids);
  return ids;
}

void check_sampled(const at::Tensor& ids) {
  check_on_cpu(ids, "ids");
  const at::Tensor dense = ids.contiguous();
  for (int64_t r = 0; r < dense.numel(); ++r) {
    PRUDENT_CHECK(dense.const_data_ptr<int64_t>()[r] >= 0, "E_NON_FINITE", "logits[" + std::to_string(r) + "]",
                  "finite numbers or -infinity, at least one finite", "NaN, +infinity or nothing finite");
  }
}

}  // namespace prudent::kernels
