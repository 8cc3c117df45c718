#include "kernels/common/isa_parallel.h"
#include "kernels/sample/sample_kernel.h"

namespace prudent::kernels::PRUDENT_ISA {

namespace {

template <typename T>
float maximum(const T* logits, int64_t vocab) {
  Vec best = broadcast(-__builtin_inff());
  int64_t i = 0;
  for (; i + kWidth <= vocab; i += kWidth) best = max_of(load(logits + i), best);
  float top = max_lanes(best);
  for (; i < vocab; ++i) top = to_float(logits[i]) > top ? to_float(logits[i]) : top;
  return top;
}

template <typename T>
bool has_nan(const T* logits, int64_t vocab) {
  for (int64_t i = 0; i < vocab; ++i) {
    const float x = to_float(logits[i]);
    if (x != x) return true;
  }
  return false;
}

template <typename T>
int64_t first_equal(const T* logits, int64_t vocab, float value) {
  int64_t i = 0;
  while (i < vocab - 1 && to_float(logits[i]) != value) ++i;
  return i;
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

int64_t draw(const float* weights, int64_t vocab, float uniform) {
  double total = 0.0;
  for (int64_t i = 0; i < vocab; ++i) total += weights[i];
  const double target = uniform * total;
  double sum = 0.0;
  int64_t last = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    if (weights[i] <= 0.0f) continue;
    sum += weights[i];
    last = i;
    if (sum > target) break;
  }
  return last;
}

template <typename T>
int64_t sample_row(const SampleArgs& args, int64_t row) {
  const int64_t vocab = args.vocab;
  const T* logits = static_cast<const T*>(args.logits) + row * vocab;
  const float top = maximum(logits, vocab);
  if (top - top != 0.0f || has_nan(logits, vocab)) return -1;
  if (args.greedy) return first_equal(logits, vocab, top);

  float* weights = args.weights + row * vocab;
  each_vector(
      vocab, [&](int64_t i, int64_t n) __attribute__((always_inline)) {
        store_at(weights + i, (load_at(logits + i, n) - top) * args.inverse_temperature, n);
      });
  if (args.top_k > 0 && args.top_k < vocab) {
    // `order` is not in use yet: its memory serves as scratch.
    const float smallest = kth_largest(weights, reinterpret_cast<float*>(args.order + row * vocab), vocab, args.top_k);
    for (int64_t i = 0; i < vocab; ++i) weights[i] = weights[i] < smallest ? -__builtin_inff() : weights[i];
  }
  each_vector(
      vocab, [&](int64_t i, int64_t n)
                 __attribute__((always_inline)) { store_at(weights + i, exp(load_at(weights + i, n)), n); });
  if (args.top_p < 1.0) keep_top_p(weights, args.order + row * vocab, vocab, args.top_p);
  return draw(weights, vocab, args.uniform[row]);
}

}  // namespace

void sample_run(const SampleArgs& args) {
  parallel_for(args.rows, 1 + 16384 / args.vocab, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      args.ids[row] = args.bf16 ? sample_row<Bf16>(args, row) : sample_row<float>(args, row);
    }
  });
}

}  // namespace prudent::kernels::PRUDENT_ISA
