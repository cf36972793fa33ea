/* What every model that Tidegate exports to C shares: one register of numbers, products, the cells over the units of a layer.
 * C99 and C++17. No allocation, no libc but memcpy. TG_LANES numbers are worked on at once: 16, 8 or 4 where the compiler has vector
 * extensions and the processor vectors, at most TG_MOST_LANES, which the header of a small net sets; else 1. Buffers are TG_PADDED, weights have TG_OVER numbers behind them, because whole vectors
 * are read and written: what stands in the lanes past an array's end is finite and never used. */
#ifndef TIDEGATE_RUN_H
#define TIDEGATE_RUN_H

#include <stdint.h>
#if defined(__GNUC__)
#define TG_COPY(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define TG_UNUSED __attribute__((unused))
#define TG_BARRIER __asm__ __volatile__("") /* keeps a loop from becoming a call of memset or memcpy */
#else
#include <string.h>
#define TG_COPY(to, from, bytes) memcpy(to, from, bytes)
#define TG_UNUSED
#define TG_BARRIER ((void)0)
#endif

#if !defined(TG_MOST_LANES)
#define TG_MOST_LANES 16
#endif
#if defined(TG_LANES) /* given by the compiler's flags, as 1 for what a small device does */
#elif defined(__GNUC__) && defined(__AVX512F__) && TG_MOST_LANES >= 16
#define TG_LANES 16
#elif defined(__GNUC__) && defined(__AVX__) && TG_MOST_LANES >= 8
#define TG_LANES 8
#elif defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__) || defined(__wasm_simd128__))
#define TG_LANES 4
#else
#define TG_LANES 1
#endif
#define TG_PADDED(n) (((n) + TG_LANES - 1) / TG_LANES * TG_LANES)
#define TG_OVER (TG_LANES - 1)

#if TG_LANES > 1
#define TG_INLINE static inline __attribute__((always_inline, unused))
#define TG_ALIGNED __attribute__((aligned(64)))
#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
typedef float tg_real __attribute__((vector_size(4 * TG_LANES)));
typedef int32_t tg_ints __attribute__((vector_size(4 * TG_LANES)));
TG_INLINE tg_real tg_all(float x) {
  const tg_real zero = {0};
  return x - zero;
}
/* a * b + c, rounded once where the processor can. */
TG_INLINE tg_real tg_fma(tg_real a, tg_real b, tg_real c) {
#if TG_LANES == 16 && defined(__AVX512F__)
  return (tg_real)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif TG_LANES == 8 && defined(__FMA__)
  return (tg_real)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif TG_LANES == 4 && defined(__FMA__)
  return (tg_real)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(__aarch64__)
  return (tg_real)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
/* x where a < b, else y. */
TG_INLINE tg_real tg_choose(tg_real a, tg_real b, tg_real x, tg_real y) {
#if TG_LANES == 16 && defined(__AVX512F__)
  return (tg_real)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OS), (__m512)y, (__m512)x);
#elif TG_LANES == 8 && defined(__AVX__)
  return (tg_real)_mm256_blendv_ps((__m256)y, (__m256)x, _mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LT_OS));
#else
  const tg_ints first = (tg_ints)(a < b);
  return (tg_real)((first & (tg_ints)x) | (~first & (tg_ints)y));
#endif
}
TG_INLINE tg_real tg_pow2(tg_real shifted) { return (tg_real)(((tg_ints)shifted << 23) + 0x3f800000); }
#define TG_FMA(a, b, c) tg_fma(a, b, c)
#define TG_LESS(a, b, x, y) tg_choose(a, b, x, y)
#else /* one number */
#define TG_INLINE static inline TG_UNUSED
#define TG_ALIGNED
typedef float tg_real;
TG_INLINE tg_real tg_all(float x) { return x; }
TG_INLINE tg_real tg_pow2(tg_real shifted) {
  uint32_t bits;
  TG_COPY(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;
  TG_COPY(&shifted, &bits, sizeof bits);
  return shifted;
}
#if defined(__GNUC__) && defined(__ARM_FEATURE_FMA)
#define TG_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define TG_FMA(a, b, c) ((a) * (b) + (c))
#endif
#define TG_LESS(a, b, x, y) ((a) < (b) ? (x) : (y))
#if defined(__GNUC__) && defined(__thumb__) && !defined(__thumb2__) && !defined(__ARM_FP)
/* A Cortex-M0's subtraction is 800 bytes beside an addition's: a + -b has the same bits. */
static TG_UNUSED tg_real tg_minus(tg_real a, tg_real b) {
  uint32_t bits;
  TG_COPY(&bits, &b, sizeof bits);
  bits ^= 0x80000000u;
  __asm__("" : "+r"(bits)); /* or the compiler makes a subtraction of it */
  TG_COPY(&b, &bits, sizeof b);
  return a + b;
}
#define TG_MINUS(a, b) tg_minus(a, b)
#endif
#endif
#define TG_REAL tg_real
#define TG_SET(value) tg_all(value)
#define TG_POW2(shifted) tg_pow2(shifted)

#include "cell.h"

#if TG_LANES > 1
TG_INLINE tg_real tg_load(const float *p) {
  tg_real v;
  TG_COPY(&v, p, sizeof v);
  return v;
}
TG_INLINE void tg_store(float *p, tg_real v) { TG_COPY(p, &v, sizeof v); }
#else
TG_INLINE tg_real tg_load(const float *p) { return *p; }
TG_INLINE void tg_store(float *p, tg_real v) { *p = v; }
#endif

/* sum[j] = start[j] + x[0] w[0][j] + x[1] w[1][j] + ..., in this order, for some columns; the rows of w are `row` numbers apart. Sums
 * stay in registers from the first product to the last. */
#define TG_TIMES_1(f) f(0)
#define TG_TIMES_2(f) TG_TIMES_1(f) f(1)
#define TG_TIMES_3(f) TG_TIMES_2(f) f(2)
#define TG_TIMES_4(f) TG_TIMES_3(f) f(3)
#define TG_TIMES_6(f) TG_TIMES_4(f) f(4) f(5)
#define TG_TIMES_8(f) TG_TIMES_6(f) f(6) f(7)
#define TG_TIMES_12(f) TG_TIMES_8(f) f(8) f(9) f(10) f(11)
#define TG_BEGIN(i) tg_real s##i = tg_load(start + (i) * TG_LANES);
#define TG_ADD(i) s##i = TG_FMA(v, tg_load(w + (i) * TG_LANES), s##i);
#define TG_END(i) tg_store(sum + (i) * TG_LANES, s##i);
#define TG_COLUMNS(n)                                                                                                       \
  TG_INLINE void tg_columns_##n(float *sum, const float *start, const float *w, const float *x, int inputs, int row) {       \
    int k;                                                                                                                  \
    TG_TIMES_##n(TG_BEGIN) for (k = 0; k < inputs; ++k, w += row) {                                                         \
      const tg_real v = tg_all(x[k]);                                                                                       \
      TG_TIMES_##n(TG_ADD)                                                                                                  \
    }                                                                                                                       \
    TG_TIMES_##n(TG_END)                                                                                                    \
  }
#define TG_SOME(n)                                                        \
  {                                                                       \
    tg_columns_##n(sum, start, w, x, inputs, columns);                    \
    sum += (n) * TG_LANES, start += (n) * TG_LANES, w += (n) * TG_LANES;  \
    left -= (n);                                                          \
  }
TG_COLUMNS(1)
#if TG_LANES > 1
TG_COLUMNS(2) TG_COLUMNS(3) TG_COLUMNS(4) TG_COLUMNS(6) TG_COLUMNS(8) TG_COLUMNS(12)
/* All columns: sum [padded] may be start [padded]; w [inputs][columns] with TG_OVER numbers behind it; x [inputs]. */
TG_INLINE void tg_product(float *sum, const float *start, const float *w, const float *x, int inputs, int columns) {
  int left = (columns + TG_LANES - 1) / TG_LANES;
  while (left >= 8) {
    if (left == 12) TG_SOME(12)
    else TG_SOME(8)
  }
  if (left >= 6) TG_SOME(6)
  if (left >= 4) TG_SOME(4)
  if (left == 3) TG_SOME(3)
  if (left == 2) TG_SOME(2)
  if (left == 1) TG_SOME(1)
}
#else
#if defined(__ARM_FP) || defined(__riscv_flen)
#define TG_ABREAST 8
TG_COLUMNS(8)
#else
#define TG_ABREAST 4
TG_COLUMNS(4)
#endif
#define TG_MOST(n) TG_SOME(n)
static TG_UNUSED void tg_product(float *sum, const float *start, const float *w, const float *x, int inputs, int columns) {
  int left = columns;
  while (left >= TG_ABREAST) TG_MOST(TG_ABREAST)
  while (left > 0) TG_SOME(1)
}
#undef TG_ABREAST
#undef TG_MOST
#endif
#undef TG_BEGIN
#undef TG_ADD
#undef TG_END
#undef TG_COLUMNS
#undef TG_SOME

/* The pointwise phase of a layer of `size` units. g: the products, [kept * size, padded], destroyed; h, c: the state, [padded]. */
TG_INLINE void tg_rnn_tanh_units(float *g, float *h, int size) {
  int u;
  for (u = 0; u < size; u += TG_LANES) {
    tg_real v = tg_load(g + u), h_next;
    tg_rnn_tanh_output(&v, tg_load(h + u), v, &h_next);
    tg_store(h + u, h_next);
  }
}
TG_INLINE void tg_rnn_relu_units(float *g, float *h, int size) {
  int u;
  for (u = 0; u < size; u += TG_LANES) {
    tg_real v = tg_load(g + u), h_next;
    tg_rnn_relu_output(&v, tg_load(h + u), v, &h_next);
    tg_store(h + u, h_next);
  }
}
/* g = i, f, g, o */
TG_INLINE void tg_lstm_units(float *g, float *h, float *c, int size) {
  tg_real v[4], next;
  int u, k;
  for (u = 0; u < size; u += TG_LANES) {
    for (k = 0; k < 4; ++k) v[k] = tg_load(g + k * size + u);
    tg_lstm_gates(v, tg_load(c + u), &next);
    tg_store(c + u, next);
    tg_store(g + 3 * size + u, v[3]);
  }
  for (u = 0; u < size; u += TG_LANES) {
    v[3] = tg_load(g + 3 * size + u);
    tg_lstm_output(v, tg_load(h + u), tg_load(c + u), &next);
    tg_store(h + u, next);
  }
}
/* g = n, r, z, u of cell.h. gates [2 * row]: where r and z stay between the two passes; its last lanes must not be g's next gate. */
TG_INLINE void tg_gru_units(float *g, float *gates, int row, float *h, int size) {
  tg_real v[4], next;
  int u;
  for (u = 0; u < size; u += TG_LANES) {
    v[1] = tg_load(g + size + u), v[2] = tg_load(g + 2 * size + u);
    tg_gru_gates(v, v[1], &next);
    tg_store(gates + u, v[1]);
    tg_store(gates + row + u, v[2]);
  }
  for (u = 0; u < size; u += TG_LANES) {
    v[0] = tg_load(g + u), v[1] = tg_load(gates + u), v[2] = tg_load(gates + row + u), v[3] = tg_load(g + 3 * size + u);
    tg_gru_output(v, tg_load(h + u), v[0], &next);
    tg_store(h + u, next);
  }
}

#if TG_LANES > 1
#define TG_GRU_UNITS(g, h, size)                             \
  {                                                          \
    float gates[2 * TG_PADDED(size)] TG_ALIGNED;             \
    tg_gru_units(g, gates, TG_PADDED(size), h, size);        \
  }
#define tg_edge(p) tg_store(p, tg_all(0.0f))
#else
#define TG_GRU_UNITS(g, h, size) tg_gru_units(g, (g) + (size), size, h, size)
#define tg_edge(p) ((void)0)
#endif

TG_INLINE void tg_copy(float *to, const float *from, int n) {
  int k = 0;
  for (; k + TG_LANES <= n; k += TG_LANES) {
    tg_store(to + k, tg_load(from + k));
    TG_BARRIER;
  }
  for (; k < n; ++k) {
    to[k] = from[k];
    TG_BARRIER;
  }
}
TG_INLINE void tg_zero(float *to, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    to[k] = 0.0f;
    TG_BARRIER;
  }
}
/* y [padded] of x [padded]. */
TG_INLINE void tg_relu_of(float *y, const float *x, int n) {
  int k;
  for (k = 0; k < n; k += TG_LANES) {
    const tg_real v = tg_load(x + k), zero = tg_all(0.0f);
    tg_store(y + k, TG_LESS(v, zero, zero, v));
  }
}
TG_INLINE void tg_tanh_of(float *y, const float *x, int n) {
  int k;
  for (k = 0; k < n; k += TG_LANES) tg_store(y + k, tg_tanh(tg_load(x + k)));
}
TG_INLINE void tg_sigmoid_of(float *y, const float *x, int n) {
  int k;
  for (k = 0; k < n; k += TG_LANES) tg_store(y + k, tg_sigmoid(tg_load(x + k)));
}
TG_INLINE void tg_add(float *y, const float *x, int n) {
  int k;
  for (k = 0; k < n; ++k) y[k] += x[k];
}
TG_INLINE void tg_scale(float *y, const float *x, float by, int n) {
  int k;
  for (k = 0; k < n; ++k) y[k] = x[k] / by;
}
TG_INLINE void tg_highest(float *y, const float *x, int n) {
  int k;
  for (k = 0; k < n; ++k) y[k] = x[k] > y[k] ? x[k] : y[k];
}
/* Layer normalisation (Ba et al. 2016), epsilon 1e-5. The square root's inverse by Newton's method from its bits, without libm. */
TG_INLINE void tg_norm(float *y, const float *x, const float *gain, const float *shift, int n) {
  float mean = 0.0f, spread = 0.0f, root, half;
  uint32_t bits;
  int k;
  for (k = 0; k < n; ++k) mean += x[k];
  mean /= (float)n;
  for (k = 0; k < n; ++k) spread += (x[k] - mean) * (x[k] - mean);
  spread = spread / (float)n + 1e-5f;
  TG_COPY(&bits, &spread, sizeof bits);
  bits = 0x5f3759dfu - (bits >> 1);
  TG_COPY(&root, &bits, sizeof root);
  half = 0.5f * spread;
  for (k = 0; k < 4; ++k) root *= 1.5f - half * root * root;
  for (k = 0; k < n; ++k) y[k] = (x[k] - mean) * root * gain[k] + shift[k];
}
/* Softmax of x / temperature; y [padded], x [padded]. */
TG_INLINE void tg_softmax(float *y, const float *x, float temperature, int n) {
  float highest = x[0], total = 0.0f;
  int k;
  for (k = 1; k < n; ++k) highest = x[k] > highest ? x[k] : highest;
  for (k = 0; k < n; k += TG_LANES) tg_store(y + k, tg_exp(TG_MINUS(tg_load(x + k), tg_all(highest)) / tg_all(temperature)));
  for (k = 0; k < n; ++k) total += y[k];
  for (k = 0; k < n; ++k) y[k] /= total;
}
/* The place of the largest, the first of equals. */
TG_INLINE int tg_best(const float *x, int n) {
  int best = 0, k;
  for (k = 1; k < n; ++k) best = x[k] > x[best] ? k : best;
  return best;
}
/* Whether all |x| <= most; not so for NaN. By their bits: no flag of the compiler takes it away. */
TG_INLINE int tg_within(const float *x, float most, int n) {
  uint32_t limit, bits, over = 0;
  int k;
  TG_COPY(&limit, &most, sizeof limit);
  for (k = 0; k < n; ++k) {
    const float value = x[k]; /* is aligned for certain, so that no processor calls memcpy */
    TG_COPY(&bits, &value, sizeof bits);
    over |= (uint32_t)((bits & 0x7fffffffu) > limit);
  }
  return over == 0;
}
/* Whether a and b differ by at most `tolerance` times max(1, |b|). */
TG_INLINE int tg_near(const float *a, const float *b, float tolerance, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    const float apart = a[k] < b[k] ? b[k] - a[k] : a[k] - b[k], size = b[k] < 0.0f ? -b[k] : b[k];
    if (!tg_within(a + k, 3.4e38f, 1) || apart > tolerance * (size < 1.0f ? 1.0f : size)) return 0;
  }
  return 1;
}
#undef TG_REAL
#undef TG_SET
#undef TG_POW2
#undef TG_FMA
#undef TG_LESS
#undef TG_MINUS
#undef TG_INLINE
#endif
