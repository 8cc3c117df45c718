// Vectors of the instruction set that the including <op>_cpu.cpp is compiled for, over the compiler's vector extension.
// Everything lives in namespace PRUDENT_ISA and is always inlined; see host_device.h for why.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef PRUDENT_ISA
#error "vec.h is for <op>_cpu.cpp files only: they are compiled once per instruction set"
#endif
#if defined(__x86_64__)
#include <immintrin.h>  // intrinsics are always inlined and never emitted: the linker has no copy of them to choose from
#endif
#define PRUDENT_VEC static inline __attribute__((always_inline, unused))

namespace prudent::kernels::PRUDENT_ISA {

#if defined(PRUDENT_ISA_avx512)
constexpr int kWidth = 16;
#elif defined(PRUDENT_ISA_avx2)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kWidth)));
typedef int32_t VecInt __attribute__((vector_size(4 * kWidth)));
typedef uint32_t VecBits __attribute__((vector_size(4 * kWidth)));
typedef uint16_t VecHalf __attribute__((vector_size(2 * kWidth)));

struct Bf16 {
  uint16_t bits;
};

PRUDENT_VEC int64_t round_up(int64_t n) { return (n + kWidth - 1) / kWidth * kWidth; }
PRUDENT_VEC void fill_zero(float* p, int64_t n) { __builtin_memset(p, 0, static_cast<std::size_t>(n) * sizeof(float)); }
PRUDENT_VEC int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

PRUDENT_VEC Vec broadcast(float x) { return x - Vec{}; }

PRUDENT_VEC float to_float(float x) { return x; }
PRUDENT_VEC float to_float(Bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }
PRUDENT_VEC void set(float& to, float x) { to = x; }
// Round to nearest, ties to even; NaN stays NaN.
PRUDENT_VEC void set(Bf16& to, float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  to.bits = x != x ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// The compiler makes five instructions of a conversion between vectors of 16 and of 32 bits; AVX-512 has one.
PRUDENT_VEC VecBits widen(VecHalf half) {
#if defined(PRUDENT_ISA_avx512)
  return __builtin_bit_cast(VecBits, _mm512_maskz_cvtepu16_epi32(0xffff, __builtin_bit_cast(__m256i, half)));
#else
  return __builtin_convertvector(half, VecBits);
#endif
}
PRUDENT_VEC VecHalf narrow(VecBits bits) {
#if defined(PRUDENT_ISA_avx512)
  return __builtin_bit_cast(VecHalf, _mm512_maskz_cvtepi32_epi16(0xffff, __builtin_bit_cast(__m512i, bits)));
#else
  return __builtin_convertvector(bits, VecHalf);
#endif
}

PRUDENT_VEC Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
PRUDENT_VEC Vec load(const Bf16* p) {
  VecHalf half;
  __builtin_memcpy(&half, p, sizeof half);
  return __builtin_bit_cast(Vec, widen(half) << 16);
}
PRUDENT_VEC void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }
// The upper halves, rounded as set() does it. vcvtneps2bf16 would be one instruction for six, but it takes denormals as 0, and
// these six hide behind the memory that they work on.
PRUDENT_VEC VecBits bf16_bits(Vec v) {
  const VecBits bits = __builtin_bit_cast(VecBits, v);
  const VecBits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return v != v ? VecBits{} + 0x7fc0u : rounded;
}
PRUDENT_VEC void store(Bf16* p, Vec v) {
  const VecHalf half = narrow(bf16_bits(v));
  __builtin_memcpy(p, &half, sizeof half);
}

// Two vectors from 2 * kWidth neighbours, those at even places and those at odd ones, and back: for what treats all items alike.
// In bf16 a mask or a shift then stands for the conversion between 16 and 32 bits.
struct VecPair {
  Vec even, odd;
};
PRUDENT_VEC VecPair load_pair(const float* p) { return {load(p), load(p + kWidth)}; }
PRUDENT_VEC VecPair load_pair(const Bf16* p) {
  VecBits both;
  __builtin_memcpy(&both, p, sizeof both);
  return {__builtin_bit_cast(Vec, both << 16), __builtin_bit_cast(Vec, both & 0xffff0000u)};
}
PRUDENT_VEC void store_pair(float* p, VecPair v) {
  store(p, v.even);
  store(p + kWidth, v.odd);
}
PRUDENT_VEC void store_pair(Bf16* p, VecPair v) {
  const auto rounded = [](Vec x) __attribute__((always_inline)) {
    const VecBits bits = __builtin_bit_cast(VecBits, x);
    return x != x ? VecBits{} + 0x7fc00000u : bits + 0x7fffu + ((bits >> 16) & 1u);
  };
  const VecBits both = (rounded(v.even) >> 16) | (rounded(v.odd) & 0xffff0000u);
  __builtin_memcpy(p, &both, sizeof both);
}

// Asks for what a loop over pairs of vectors will load or store some steps on. Where a step is much arithmetic on little memory,
// too few steps are under way at once to hide memory's latency, and the processor's own prefetchers stop at every page.
template <int kWrite = 0, typename T>
PRUDENT_VEC void fetch_ahead(const T* p) {
  constexpr int64_t kAhead = 2048, kLine = 64;
  const char* const ahead = reinterpret_cast<const char*>(p) + kAhead;
  __builtin_prefetch(ahead, kWrite);
  if constexpr (2 * kWidth * sizeof(T) > kLine) __builtin_prefetch(ahead + kLine, kWrite);
}

// To T's precision and back.
template <typename T>
PRUDENT_VEC Vec round_to(Vec v) {
  if constexpr (sizeof(T) == sizeof(float)) return v;
  return __builtin_bit_cast(Vec, bf16_bits(v) << 16);
}

// The first n < kWidth items; the rest reads as 0 and is not touched.
#if defined(PRUDENT_ISA_avx512)
PRUDENT_VEC __mmask16 first_lanes_mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
PRUDENT_VEC Vec load_some(const float* p, int64_t n) {
  return __builtin_bit_cast(Vec, _mm512_maskz_loadu_ps(first_lanes_mask(n), p));
}
PRUDENT_VEC Vec load_some(const Bf16* p, int64_t n) {
  const VecHalf half = __builtin_bit_cast(VecHalf, _mm256_maskz_loadu_epi16(first_lanes_mask(n), p));
  return __builtin_bit_cast(Vec, widen(half) << 16);
}
PRUDENT_VEC void store_some(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes_mask(n), __builtin_bit_cast(__m512, v));
}
PRUDENT_VEC void store_some(Bf16* p, Vec v, int64_t n) {
  const VecHalf half = narrow(bf16_bits(v));
  _mm256_mask_storeu_epi16(p, first_lanes_mask(n), __builtin_bit_cast(__m256i, half));
}
#else
template <typename T>
PRUDENT_VEC Vec load_some(const T* p, int64_t n) {
  float buffer[kWidth] = {};
  for (int64_t i = 0; i < n; ++i) buffer[i] = to_float(p[i]);
  return load(buffer);
}
template <typename T>
PRUDENT_VEC void store_some(T* p, Vec v, int64_t n) {
  float buffer[kWidth];
  store(buffer, v);
  for (int64_t i = 0; i < n; ++i) set(p[i], buffer[i]);
}
#endif

// Calls step(i, n) on [0, count) by whole vectors (n == kWidth) and once on the rest; pair with load_at / store_at.
template <typename T>
PRUDENT_VEC Vec load_at(const T* p, int64_t n) {
  return n == kWidth ? load(p) : load_some(p, n);
}
template <typename T>
PRUDENT_VEC void store_at(T* p, Vec v, int64_t n) {
  if (n == kWidth) {
    store(p, v);
  } else {
    store_some(p, v, n);
  }
}
template <typename Step>
PRUDENT_VEC void each_vector(int64_t count, Step&& step) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) step(i, static_cast<int64_t>(kWidth));
  if (i < count) step(i, count - i);
}

PRUDENT_VEC Vec max_of(Vec a, Vec b) { return a > b ? a : b; }

// Is a lane of the comparison true?
PRUDENT_VEC bool any(VecInt comparison) {
#if defined(PRUDENT_ISA_avx512)
  const __m512i bits = __builtin_bit_cast(__m512i, comparison);
  return _mm512_test_epi32_mask(bits, bits) != 0;
#elif defined(PRUDENT_ISA_avx2)
  return _mm256_movemask_ps(__builtin_bit_cast(__m256, comparison)) != 0;
#else
  int32_t lanes = 0;
  for (int i = 0; i < kWidth; ++i) lanes |= comparison[i];
  return lanes != 0;
#endif
}

PRUDENT_VEC Vec square_root(Vec x) {
#if defined(PRUDENT_ISA_avx512)
  return __builtin_bit_cast(Vec, _mm512_maskz_sqrt_ps(0xffff, __builtin_bit_cast(__m512, x)));
#elif defined(PRUDENT_ISA_avx2)
  return __builtin_bit_cast(Vec, _mm256_sqrt_ps(__builtin_bit_cast(__m256, x)));
#elif defined(__x86_64__)
  return __builtin_bit_cast(Vec, _mm_sqrt_ps(__builtin_bit_cast(__m128, x)));
#else
  for (int i = 0; i < kWidth; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// Lanes are added pairwise, always in the same order.
PRUDENT_VEC float sum_lanes(Vec v) {
  float lanes[kWidth];
  store(lanes, v);
  for (int step = kWidth / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
  }
  return lanes[0];
}
PRUDENT_VEC float max_lanes(Vec v) {
  float lanes[kWidth];
  store(lanes, v);
  float best = lanes[0];
  for (int i = 1; i < kWidth; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}
// sum_i a[i] * b[i] in fp32; the order of the additions depends on the count alone.
template <typename A, typename B>
PRUDENT_VEC float dot(const A* a, const B* b, int64_t count) {
  Vec sum0 = {}, sum1 = {}, sum2 = {}, sum3 = {};
  int64_t i = 0;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    sum0 += load(a + i) * load(b + i);
    sum1 += load(a + i + kWidth) * load(b + i + kWidth);
    sum2 += load(a + i + 2 * kWidth) * load(b + i + 2 * kWidth);
    sum3 += load(a + i + 3 * kWidth) * load(b + i + 3 * kWidth);
  }
  for (; i + kWidth <= count; i += kWidth) sum0 += load(a + i) * load(b + i);
  if (i < count) sum1 += load_some(a + i, count - i) * load_some(b + i, count - i);
  return sum_lanes((sum0 + sum1) + (sum2 + sum3));
}
// Lane i holds start + i.
PRUDENT_VEC VecInt iota(int32_t start) {
  VecInt v;
  for (int i = 0; i < kWidth; ++i) v[i] = start + i;
  return v;
}
// Lanes at or behind n read as `rest`.
PRUDENT_VEC Vec first_lanes(Vec v, int64_t n, float rest = 0.0f) {
  return n == kWidth ? v : (iota(0) < static_cast<int32_t>(n) ? v : broadcast(rest));
}

// e^r for |r| <= ln 2 / 2: the polynomial of Cephes' expf.
PRUDENT_VEC Vec exp_of_rest(Vec r) {
  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r + 1.0f;
}
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // ln 2 in two parts (Cody & Waite)
constexpr float kExpLow = -87.33f, kExpHigh = 88.72f;

// e^x, relative error of about 2e-7; 0 below -87.3, infinity above 88.7, NaN stays NaN.
#if defined(PRUDENT_ISA_avx512)
PRUDENT_VEC Vec exp(Vec x) {
  const __m512 given = __builtin_bit_cast(__m512, x);
  // Above the bound 2^n overflows by itself; min returns its second operand when one is NaN.
  const __m512 bounded = _mm512_maskz_min_ps(0xffff, _mm512_set1_ps(90.0f), given);
  const __m512 rounded =
      _mm512_maskz_roundscale_ps(0xffff, __builtin_bit_cast(__m512, __builtin_bit_cast(Vec, bounded) * kLog2E), 0);
  const Vec n = __builtin_bit_cast(Vec, rounded);
  const Vec p = exp_of_rest((__builtin_bit_cast(Vec, bounded) - n * kLn2High) - n * kLn2Low);
  const __mmask16 not_below = _mm512_cmp_ps_mask(given, _mm512_set1_ps(kExpLow), _CMP_NLT_UQ);
  return __builtin_bit_cast(Vec, _mm512_maskz_scalef_ps(not_below, __builtin_bit_cast(__m512, p), rounded));
}
#else
PRUDENT_VEC Vec exp(Vec x) {
  const Vec bounded = max_of(x < kExpHigh ? x : broadcast(kExpHigh), broadcast(kExpLow));
  const Vec shifted = bounded * kLog2E + 12582912.0f;  // 1.5 * 2^23: the low bits hold round(x / ln 2)
  const VecInt n = __builtin_bit_cast(VecInt, shifted) - 0x4b400000;
  const Vec k = shifted - 12582912.0f;
  const Vec p = exp_of_rest((bounded - k * kLn2High) - k * kLn2Low);
  // 2^n in two factors, for n = 128 just below the upper bound.
  const VecInt half = n >> 1;
  const Vec scaled = p * __builtin_bit_cast(Vec, (half + 127) << 23) * __builtin_bit_cast(Vec, (n - half + 127) << 23);
  const Vec low = x < kExpLow ? Vec{} : scaled;
  const Vec high = x > kExpHigh ? broadcast(__builtin_inff()) : low;
  return x != x ? x : high;
}
#endif

// 1 / x within an ulp for |x| in [2^-126, 2^126]; beyond that 0 where the true result is smaller than any normal number.
PRUDENT_VEC Vec reciprocal(Vec x) {
#if defined(PRUDENT_ISA_avx512)
  const Vec first = __builtin_bit_cast(Vec, _mm512_maskz_rcp14_ps(0xffff, __builtin_bit_cast(__m512, x)));
  return first * (1.0f - x * first) + first;
#else
  return 1.0f / x;
#endif
}

// 1 / (1 + e^-x). The exponent is bounded so that the denominator stays finite; a sigmoid of -87 is 1e-38.
#if defined(PRUDENT_ISA_avx512)
PRUDENT_VEC Vec sigmoid(Vec x) {
  // As exp, which between these bounds needs none of its own. They return their second operand when one is NaN.
  const __m512 not_above = _mm512_maskz_min_ps(0xffff, _mm512_set1_ps(87.0f), __builtin_bit_cast(__m512, -x));
  const Vec minus_x = __builtin_bit_cast(Vec, _mm512_maskz_max_ps(0xffff, _mm512_set1_ps(-87.0f), not_above));
  const __m512 rounded = _mm512_maskz_roundscale_ps(0xffff, __builtin_bit_cast(__m512, minus_x * kLog2E), 0);
  const Vec n = __builtin_bit_cast(Vec, rounded);
  const Vec p = exp_of_rest((minus_x - n * kLn2High) - n * kLn2Low);
  return reciprocal(1.0f + __builtin_bit_cast(Vec, _mm512_maskz_scalef_ps(0xffff, __builtin_bit_cast(__m512, p), rounded)));
}
#else
PRUDENT_VEC Vec sigmoid(Vec x) { return reciprocal(1.0f + exp(x < -87.0f ? broadcast(87.0f) : -x)); }
#endif

// Abramowitz & Stegun 7.1.26, absolute error below 5e-7 in fp32. `exp_minus_square` is e^(-x^2), which callers need anyway.
PRUDENT_VEC Vec erf(Vec x, Vec exp_minus_square) {
  const Vec a = x < 0.0f ? -x : x;
  const Vec t = 1.0f / (1.0f + 0.3275911f * a);
  Vec p = broadcast(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Vec y = 1.0f - p * t * exp_minus_square;
  return x < 0.0f ? -y : y;
}

}  // namespace prudent::kernels::PRUDENT_ISA
