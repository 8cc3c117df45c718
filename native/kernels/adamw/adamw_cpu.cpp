#include "kernels/adamw/adamw_kernel.h"
#include "kernels/common/isa_parallel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename P, typename G>
void update(const AdamwArgs& args, const AdamwEntry& entry, int64_t begin, int64_t end) {
  P* parameter = static_cast<P*>(entry.parameter) + begin;
  const G* gradient = static_cast<const G*>(entry.gradient) + begin;
  float *moment1 = entry.moment1 + begin, *moment2 = entry.moment2 + begin;
  float* master = entry.master == nullptr ? nullptr : entry.master + begin;
  const float keep = 1.0f - args.lr * entry.weight_decay;
  each_vector(
      end - begin, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec g = load_at(gradient + i, n) * args.gradient_scale;
        const Vec m = args.beta1 * load_at(moment1 + i, n) + args.gradient_weight1 * g;
        const Vec v = args.beta2 * load_at(moment2 + i, n) + args.gradient_weight2 * g * g;
        store_at(moment1 + i, m, n);
        store_at(moment2 + i, v, n);
        const Vec old = master == nullptr ? load_at(parameter + i, n) : load_at(master + i, n);
        const Vec p = old * keep - args.step_size * m / (square_root(v) * args.root_correction + args.eps);
        if (master != nullptr) store_at(master + i, p, n);
        store_at(parameter + i, p, n);
      });
}

void run_chunk(const AdamwArgs& args, const AdamwEntry& entry, int64_t chunk) {
  const int64_t begin = chunk * kAdamwChunk, end = min_of(entry.count, begin + kAdamwChunk);
  if (entry.parameter_bf16) {
    entry.gradient_bf16 ? update<Bf16, Bf16>(args, entry, begin, end) : update<Bf16, float>(args, entry, begin, end);
  } else {
    entry.gradient_bf16 ? update<float, Bf16>(args, entry, begin, end) : update<float, float>(args, entry, begin, end);
  }
}

// The last entry whose first chunk is not behind `chunk`; empty entries have no chunk and are passed over.
int64_t entry_of(const AdamwArgs& args, int64_t chunk) {
  int64_t low = 0, high = args.entry_count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (args.entries[middle].first_chunk <= chunk) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace

void adamw_run(const AdamwArgs& args) {
  parallel_for(args.chunk_count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const AdamwEntry& entry = args.entries[entry_of(args, chunk)];
      run_chunk(args, entry, chunk - entry.first_chunk);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
