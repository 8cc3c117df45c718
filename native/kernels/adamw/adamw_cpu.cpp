#include "kernels/adamw/adamw_kernel.h"
#include "kernels/adamw/adamw_math.h"
#include "kernels/common/isa_parallel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename P, typename G>
void update(const AdamwArgs& args, const AdamwEntry& entry, int64_t begin, int64_t end) {
  P* parameter = static_cast<P*>(entry.parameter) + begin;
  const G* gradient = static_cast<const G*>(entry.gradient) + begin;
  float *moment1 = entry.moment1 + begin, *moment2 = entry.moment2 + begin;
  float* master = entry.master == nullptr ? nullptr : entry.master + begin;
  const float keep = adamw_keep(args, entry);
  each_vector(
      end - begin, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec old = master == nullptr ? load_at(parameter + i, n) : load_at(master + i, n);
        const AdamwItem<Vec> item = adamw_update<Vec>(
            args, keep, {old, load_at(moment1 + i, n), load_at(moment2 + i, n)}, load_at(gradient + i, n),
            [](Vec x) __attribute__((always_inline)) { return square_root(x); });
        store_at(moment1 + i, item.moment1, n);
        store_at(moment2 + i, item.moment2, n);
        if (master != nullptr) store_at(master + i, item.parameter, n);
        store_at(parameter + i, item.parameter, n);
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

}  // namespace

void adamw_run(const AdamwArgs& args) {
  parallel_for(args.chunk_count, 2, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const AdamwEntry& entry = args.entries[adamw_entry_of(args, chunk)];
      run_chunk(args, entry, chunk - entry.first_chunk);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
