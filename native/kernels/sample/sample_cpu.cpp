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

// The k-th largest of data[0, count) by quickselect on `scratch`.
float kth_largest(const float* data, float* scratch, int64_t count, int64_t k) {
  for (int64_t i = 0; i < count; ++i) scratch[i] = data[i];
  int64_t low = 0, high = count - 1;
  const int64_t target = k - 1;
  while (low < high) {
    const float pivot = scratch[(low + high) / 2];
    int64_t i = low, j = high;
    while (i <= j) {
      while (scratch[i] > pivot) ++i;
      while (scratch[j] < pivot) --j;
      if (i <= j) {
        const float swap = scratch[i];
        scratch[i++] = scratch[j];
        scratch[j--] = swap;
      }
    }
    if (target <= j) {
      high = j;
    } else if (target >= i) {
      low = i;
    } else {
      break;
    }
  }
  return scratch[target];
}

// Larger weight first, lower id among equals.
PRUDENT_VEC bool ranks_before(const float* weights, int32_t a, int32_t b) {
  return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
}

// Restores the heap below `root`; the first in rank sits at the root.
void sift_down(const float* weights, int32_t* heap, int64_t root, int64_t count) {
  for (int64_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
    if (child + 1 < count && ranks_before(weights, heap[child + 1], heap[child])) ++child;
    if (!ranks_before(weights, heap[child], heap[root])) return;
    const int32_t swap = heap[child];
    heap[child] = heap[root];
    heap[root] = swap;
    root = child;
  }
}

// Zeroes all but the smallest set of best tokens that holds top_p of the weight. A heap yields only as many tokens as are kept.
void keep_top_p(float* weights, int32_t* heap, int64_t vocab, double top_p) {
  int64_t count = 0;
  double total = 0.0;
  for (int64_t i = 0; i < vocab; ++i) {
    if (weights[i] <= 0.0f) continue;
    heap[count++] = static_cast<int32_t>(i);
    total += weights[i];
  }
  for (int64_t root = count / 2 - 1; root >= 0; --root) sift_down(weights, heap, root, count);
  double held = 0.0;
  while (count > 0 && (held == 0.0 || held < top_p * total)) {
    held += weights[heap[0]];
    heap[0] = heap[--count];
    sift_down(weights, heap, 0, count);
  }
  for (int64_t i = 0; i < count; ++i) weights[heap[i]] = 0.0f;
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
  int32_t* order = args.order + slot * vocab;
  each_vector(
      vocab, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        store_at(weights + i, (load_at(logits + i, n) - top) * args.inverse_temperature, n);
      });
  if (args.top_k > 0 && args.top_k < vocab) {
    // `order` is not in use yet: its memory serves as scratch.
    const float smallest = kth_largest(weights, reinterpret_cast<float*>(order), vocab, args.top_k);
    for (int64_t i = 0; i < vocab; ++i) weights[i] = weights[i] < smallest ? -__builtin_inff() : weights[i];
  }
  each_vector(
      vocab, [&](int64_t i, int64_t n)
                 __attribute__((always_inline)) { store_at(weights + i, exp(load_at(weights + i, n)), n); });
  if (args.top_p < 1.0) keep_top_p(weights, order, vocab, args.top_p);
  return draw_weighted(weights, vocab, uniform);
}

template <typename T>
void sample_row(const SampleArgs& args, int64_t row, int64_t slot) {
  const int64_t vocab = args.vocab;
  const T* logits = static_cast<const T*>(args.logits) + row * vocab;
  const float top = maximum(logits, vocab);
  int64_t& id = args.ids[row];
  id = -1;
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
