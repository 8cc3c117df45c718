#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>

#include <limits>

#include "core/philox.h"
#include "kernels/sample/sample.h"

namespace prudent::kernels {

namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Lowest id among equal maxima.
at::Tensor first_argmax(const at::Tensor& logits) {
  const at::Tensor ids = at::arange(logits.size(1), logits.options().dtype(at::kLong)).unsqueeze(0);
  return at::where(logits.eq(logits.amax(1, true)), ids, ids.new_full({}, logits.size(1))).amin(1);
}

// Keeps a token while the tokens ranked above it hold less than top_p; equal logits rank by id.
at::Tensor keep_top_p(const at::Tensor& logits, double top_p) {
  const auto [sorted, order] = logits.sort(true, 1, true);
  const at::Tensor probabilities = sorted.softmax(1);
  const at::Tensor above = probabilities.cumsum(1) - probabilities;
  at::Tensor removed = above.ge(top_p);
  removed.select(1, 0).fill_(false);
  return logits.masked_fill(removed.new_zeros(removed.sizes()).scatter(1, order, removed), kMinusInfinity);
}

// ids [rows] of logits [rows, vocab] in float64.
at::Tensor draw(const at::Tensor& logits, const at::Tensor& row_keys, const at::Tensor& positions, const SampleOptions& options) {
  at::Tensor l = logits;
  if (options.greedy) return first_argmax(l);
  l = l / options.temperature;
  if (options.top_k > 0 && options.top_k < l.size(1)) {
    const at::Tensor smallest = std::get<0>(l.topk(options.top_k, 1)).amin(1, true);
    l = l.masked_fill(l.lt(smallest), kMinusInfinity);
  }
  if (options.top_p < 1.0) l = keep_top_p(l, options.top_p);
  const at::Tensor uniform = at::empty({l.size(0)}, at::kDouble);
  const at::Tensor keys = row_keys.cpu().contiguous(), steps = positions.cpu().contiguous();
  for (int64_t r = 0; r < l.size(0); ++r) {
    const Philox4 bits = philox4x32(options.seed, static_cast<uint64_t>(keys.const_data_ptr<int64_t>()[r]),
                                    static_cast<uint64_t>(steps.const_data_ptr<int64_t>()[r]));
    uniform.mutable_data_ptr<double>()[r] = uniform_open(bits.v[0]);
  }
  const at::Tensor cumulative = l.softmax(1).cumsum(1);
  const at::Tensor target = uniform.to(l.device()).unsqueeze(1) * cumulative.narrow(1, l.size(1) - 1, 1);
  return cumulative.le(target).sum(1);
}

}  // namespace

at::Tensor sample_reference(const at::Tensor& logits, const at::Tensor& row_keys, const at::Tensor& positions,
                            const SampleOptions& options, at::Tensor* logprobs) {
  const at::Tensor wide = logits.to(at::kDouble);
  const at::Tensor ids = draw(wide, row_keys, positions, options);
  if (logprobs != nullptr) *logprobs = wide.log_softmax(1).gather(1, ids.unsqueeze(1)).squeeze(1).to(at::kFloat);
  return ids;
}

}  // namespace prudent::kernels
