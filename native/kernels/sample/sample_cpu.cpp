#include "kernels/common/isa_parallel.h"
#include "kernels/sample/sample_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

constexpr int64_t kBlock = 1024;  // items of a row whose weights are summed before the draw looks for its block
constexpr int64_t kBlocks = 64;   // blocks that fit the stack; a longer vocabulary has longer blocks

// The largest logit, NaN when one is NaN.
template <typename T>
float maximum(const T* logits, int64_t vocab) {
  Vec best = broadcast(-__builtin_inff());
  VecInt broken = {};
  each_vector(
      vocab, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec x = first_lanes(load_at(logits + i, n), n, -__builtin_inff());
        best = max_of(x, best);
        broken |= x != x;
      });
  return any(broken) ? __builtin_nanf("") : max_lanes(best);
}

template <typename T>
int64_t first_equal(const T* logits, int64_t vocab, float value) {
  int64_t i = 0;
  while (i + kWidth <= vocab && !any(load(logits + i) == broadcast(value))) i += kWidth;
  while (i < vocab - 1 && to_float(logits[i]) != value) ++i;
  return i;
}

// sum_i exp((logits[i] - top) * scale)
template <typename T>
float exponential_sum(const T* logits, int64_t count, float top, float scale) {
  Vec sum0 = {}, sum1 = {};
  int64_t i = 0;
  for (; i + 2 * kWidth <= count; i += 2 * kWidth) {
    sum0 += exp((load(logits + i) - top) * scale);
    sum1 += exp((load(logits + i + kWidth) - top) * scale);
  }
  each_vector(
      count - i, [&](int64_t j, int64_t n)
                     __attribute__((always_inline)) { sum0 += first_lanes(exp((load_at(logits + i + j, n) - top) * scale), n); });
  return sum_lanes(sum0 + sum1);
}

template <typename T>
double row_sum(const T* logits, int64_t vocab, float top, float scale) {
  double total = 0.0;
  for (int64_t i = 0; i < vocab; i += kBlock) total += exponential_sum(logits + i, min_of(kBlock, vocab - i), top, scale);
  return total;
}

// Non-negative floats are ordered as their bits are. The smallest bits in (low, high] for which `enough` holds; it holds for
// `high` and, once it holds, for all that are larger. A search in 31 looks over a row that sits in the cache, whatever the row
// holds.
template <typename Enough>
PRUDENT_VEC int32_t smallest_bits(int32_t low, int32_t high, const Enough& enough) {
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    if (enough(middle)) {
      high = middle;
    } else {
      low = middle;
    }
  }
  return high;
}

constexpr int32_t kInfinityBits = 0x7f800000;

PRUDENT_VEC VecInt bits_of(Vec v) { return __builtin_bit_cast(VecInt, v); }

// How many of values[0, count), which are not negative, are at most the float with these bits.
int64_t count_up_to(const float* values, int64_t count, int32_t bits) {
  VecInt found = {};  // minus the count of each lane
  each_vector(
      count, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        found += bits_of(first_lanes(load_at(values + i, n), n, __builtin_nanf(""))) <= bits;
      });
  int64_t total = 0;
  for (int i = 0; i < kWidth; ++i) total -= found[i];
  return total;
}

// The sum of those of values[0, count), which are not negative, that are at least the float with these bits.
double sum_from(const float* values, int64_t count, int32_t bits) {
  double total = 0.0;
  for (int64_t first = 0; first < count; first += kBlock) {
    Vec sum = {};
    each_vector(
        min_of(kBlock, count - first), [&](int64_t i, int64_t n) __attribute__((always_inline)) {
          const Vec x = load_at(values + first + i, n);
          sum += bits_of(x) >= bits ? x : Vec{};
        });
    total += sum_lanes(sum);
  }
  return total;
}

// Removes, by a weight of 0, all but the smallest set of best tokens that holds top_p of the weight: at least one, lower ids
// first among equals.
void keep_top_p(float* weights, int64_t vocab, double top_p) {
  const double goal = top_p * sum_from(weights, vocab, 0);
  // Weights are at most 1: the least one that is kept is the largest whose set holds enough.
  const int32_t one = __builtin_bit_cast(int32_t, 1.0f);
  const int32_t least =
      one - smallest_bits(-1, one - 1, [&](int32_t below) { return sum_from(weights, vocab, one - below) >= goal; });
  double held = sum_from(weights, vocab, least + 1);
  for (int64_t i = 0; i < vocab; ++i) {
    const int32_t bits = __builtin_bit_cast(int32_t, weights[i]);
    if (bits > least) continue;
    const bool kept = bits == least && (held == 0.0 || held < goal);
    if (kept) held += weights[i];
    if (!kept) weights[i] = 0.0f;
  }
}

// Where the running sum of weight(i), i in [begin, end), passes `target`; the last token with any weight if it never does.
template <typename Weight>
PRUDENT_VEC int64_t where_passed(int64_t begin, int64_t end, double target, const Weight& weight) {
  double sum = 0.0;
  int64_t last = begin;
  for (int64_t i = begin; i < end; ++i) {
    const float w = weight(i);
    if (w <= 0.0f) continue;
    sum += w;
    last = i;
    if (sum > target) break;
  }
  return last;
}

int64_t draw_weighted(const float* weights, int64_t vocab, float uniform) {
  double total = 0.0;
  for (int64_t i = 0; i < vocab; ++i) total += weights[i];
  return where_passed(
      0, vocab, uniform * total, [&](int64_t i) __attribute__((always_inline)) { return weights[i]; });
}

// Inverse distribution function over the whole vocabulary: one pass sums the weights block by block, then only the block that
// the draw falls into is looked at again. Nothing of the size of the vocabulary is written.
template <typename T>
int64_t draw_unfiltered(const T* logits, int64_t vocab, float top, float scale, float uniform, double* total) {
  const int64_t block = kBlock * ((vocab + kBlock * kBlocks - 1) / (kBlock * kBlocks));
  double sums[kBlocks];
  *total = 0.0;
  for (int64_t b = 0; b * block < vocab; ++b) {
    sums[b] = row_sum(logits + b * block, min_of(block, vocab - b * block), top, scale);
    *total += sums[b];
  }
  const double target = uniform * *total;
  double before = 0.0, passed = 0.0;
  int64_t chosen = 0;
  for (int64_t b = 0; b * block < vocab && passed <= target; ++b) {
    if (sums[b] <= 0.0) continue;
    chosen = b;
    before = passed;
    passed += sums[b];
  }
  return where_passed(
      chosen * block, min_of(vocab, (chosen + 1) * block), target - before, [&](int64_t i) __attribute__((always_inline)) {
        return exp(broadcast((to_float(logits[i]) - top) * scale))[0];
      });
}

template <typename T>
int64_t draw_filtered(const SampleArgs& args, const T* logits, float top, int64_t slot, float uniform) {
  const int64_t vocab = args.vocab;
  float* weights = args.weights + slot * vocab;
  // How far below the best logit, which is never negative.
  each_vector(
      vocab, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        store_at(weights + i, (top - load_at(logits + i, n)) * args.inverse_temperature, n);
      });
  int32_t furthest = kInfinityBits;
  if (args.top_k > 0 && args.top_k < vocab) {
    furthest = smallest_bits(-1, kInfinityBits, [&](int32_t bits) { return count_up_to(weights, vocab, bits) >= args.top_k; });
  }
  each_vector(
      vocab, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec distance = load_at(weights + i, n);
        store_at(weights + i, bits_of(distance) <= furthest ? exp(-distance) : Vec{}, n);
      });
  if (args.top_p < 1.0) keep_top_p(weights, vocab, args.top_p);
  return draw_weighted(weights, vocab, uniform);
}

template <typename T>
void sample_row(const SampleArgs& args, int64_t row, int64_t slot) {
  const int64_t vocab = args.vocab;
  const T* logits = static_cast<const T*>(args.logits) + row * vocab;
  const float top = maximum(logits, vocab);
  int64_t& id = args.ids[row];
  id = -1;
  if (args.logprobs != nullptr) args.logprobs[row] = __builtin_nanf("");
  if (top - top != 0.0f) return;
  double total = 0.0;  // of the softmax at temperature 1, when the draw comes by it
  if (args.greedy) {
    id = first_equal(logits, vocab, top);
  } else if (args.weights == nullptr) {
    id = draw_unfiltered(logits, vocab, top, args.inverse_temperature, args.uniform[row], &total);
  } else {
    id = draw_filtered(args, logits, top, slot, args.uniform[row]);
  }
  if (args.logprobs == nullptr) return;
  if (args.greedy || args.weights != nullptr || args.inverse_temperature != 1.0f) total = row_sum(logits, vocab, top, 1.0f);
  args.logprobs[row] = to_float(logits[id]) - top - __builtin_logf(static_cast<float>(total));
}

}  // namespace

void sample_run(const SampleArgs& args) {
  parallel_for(args.slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      for (int64_t row = args.rows * slot / args.slots; row < args.rows * (slot + 1) / args.slots; ++row) {
        args.bf16 ? sample_row<Bf16>(args, row, slot) : sample_row<float>(args, row, slot);
      }
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
