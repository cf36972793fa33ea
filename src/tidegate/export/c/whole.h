/* What every int8 model that Tidegate exports to C shares: products of whole numbers and the cells over the units of a layer.
 * C99 and C++17. Whole numbers alone, no allocation, no libc. Right shifts of negative numbers are arithmetic, as every compiler of the
 * devices has them. */
#ifndef TIDEGATE_WHOLE_H
#define TIDEGATE_WHOLE_H

#include <stdint.h>
#if !defined(TG_UNUSED)
#if defined(__GNUC__)
#define TG_UNUSED __attribute__((unused))
#else
#define TG_UNUSED
#endif
#endif
#if !defined(TG_BARRIER)
#if defined(__GNUC__)
#define TG_BARRIER __asm__ __volatile__("") /* keeps a loop from becoming a call of memset or memcpy */
#else
#define TG_BARRIER ((void)0)
#endif
#endif

#define TG_INT int32_t
#define TG_INLINE static inline TG_UNUSED
#define TG_WHOLE(c) ((int32_t)(c))
#define TG_UNDER(a, b, x, y) ((a) < (b) ? (x) : (y))
#define TG_CURVE(j, k) tg_curve_row_##j[k]
#define TG_CURVE_TABLES                                           \
  static const int32_t tg_curve_row_0[32] TG_UNUSED = {TG_CURVE_0}; \
  static const int32_t tg_curve_row_1[32] TG_UNUSED = {TG_CURVE_1}; \
  static const int16_t tg_curve_row_2[32] TG_UNUSED = {TG_CURVE_2}; \
  static const int16_t tg_curve_row_3[32] TG_UNUSED = {TG_CURVE_3};

#include "fixed.h"

/* Rows of one sum each: (w x scale + v y scale_v) / 2^shift to the nearest, and a bias. w or v may be NULL. */
typedef struct {
  const int8_t *w, *v; /* [rows][inputs], [rows][states] */
  const int32_t *scale, *scale_v, *bias;
  int inputs, states, rows, shift;
} tg_rows;

TG_INLINE int32_t tg_dot(const int8_t *w, const int16_t *x, int n) {
  int32_t sum = 0;
  int k;
  for (k = 0; k < n; ++k) sum += (int32_t)w[k] * x[k];
  return sum;
}
static TG_UNUSED void tg_sums(int32_t *to, const tg_rows *m, const int16_t *x, const int16_t *y) {
  int r;
  for (r = 0; r < m->rows; ++r) {
    int64_t sum = (int64_t)1 << (m->shift - 1);
    if (m->w) sum += (int64_t)tg_dot(m->w + (long)r * m->inputs, x, m->inputs) * m->scale[r];
    if (m->v) sum += (int64_t)tg_dot(m->v + (long)r * m->states, y, m->states) * m->scale_v[r];
    sum >>= m->shift;
    sum = sum > 8388607 ? 8388607 : sum < -8388607 ? -8388607 : sum;
    to[r] = tg_held((int32_t)sum + m->bias[r]);
  }
}

/* What products read: of states; of sums in units of 2^-`down` times the finer, down at least 1; of vectors of int8 times a step. */
TG_INLINE void tg_read_states(int16_t *to, const int32_t *h, int n) {
  int k;
  for (k = 0; k < n; ++k) to[k] = (int16_t)tg_read(h[k]);
}
TG_INLINE void tg_read_sums(int16_t *to, const int32_t *y, int down, int n) {
  int k;
  for (k = 0; k < n; ++k) to[k] = (int16_t)tg_bound((y[k] + ((int32_t)1 << (down - 1))) >> down, 8191);
}
TG_INLINE void tg_read_vector(int16_t *to, const int8_t *w, int step, int n) {
  int k;
  for (k = 0; k < n; ++k) to[k] = (int16_t)(w[k] * step);
}

/* The units of a layer: g the sums, h and c the states. */
TG_INLINE void tg_rnn_tanh_layer(const int32_t *g, int32_t *h, int n) {
  int u;
  for (u = 0; u < n; ++u) h[u] = tg_rnn_tanh_whole(g[u]);
}
TG_INLINE void tg_lstm_layer(const int32_t *g, int32_t *h, int32_t *c, int n) {
  int u;
  for (u = 0; u < n; ++u) {
    c[u] = tg_lstm_cell_whole(g[u], g[n + u], g[2 * n + u], c[u]);
    h[u] = tg_lstm_output_whole(g[3 * n + u], c[u]);
  }
}
/* g = r, z, n, u */
TG_INLINE void tg_gru_layer(const int32_t *g, int32_t *h, int n) {
  int u;
  for (u = 0; u < n; ++u) h[u] = tg_gru_whole(g[u], g[n + u], g[2 * n + u], g[3 * n + u], h[u]);
}

TG_INLINE void tg_zeros(int32_t *to, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    to[k] = 0;
    TG_BARRIER;
  }
}
TG_INLINE void tg_copy_whole(int32_t *to, const int32_t *x, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    to[k] = x[k];
    TG_BARRIER;
  }
}
/* Whether products may read them. */
TG_INLINE int tg_readable(const int16_t *x, int n) {
  int k, all = 1;
  for (k = 0; k < n; ++k) all &= x[k] >= -8191 && x[k] <= 8191;
  return all;
}
TG_INLINE void tg_add_whole(int32_t *to, const int32_t *x, int n) {
  int k;
  for (k = 0; k < n; ++k) to[k] += x[k];
}
TG_INLINE void tg_most_whole(int32_t *to, const int32_t *x, int first, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    to[k] = first || x[k] > to[k] ? x[k] : to[k];
    TG_BARRIER;
  }
}
/* Sums of `count` numbers to means, to the nearest, halves upwards. */
TG_INLINE void tg_mean_whole(int32_t *to, const int32_t *sums, int32_t count, int n) {
  int k;
  for (k = 0; k < n; ++k) {
    const int64_t up = 2 * (int64_t)sums[k] + count, by = 2 * (int64_t)count;
    to[k] = (int32_t)(up / by) - (up % by < 0);
  }
}
/* The place of the largest, the first of equals. */
TG_INLINE int tg_best_whole(const int32_t *x, int n) {
  int best = 0, k;
  for (k = 1; k < n; ++k) best = x[k] > x[best] ? k : best;
  return best;
}
TG_INLINE int tg_same(const int32_t *a, const int32_t *b, int n) {
  int k, same = 1;
  for (k = 0; k < n; ++k) same &= a[k] == b[k];
  return same;
}
#undef TG_INT
#undef TG_INLINE
#undef TG_WHOLE
#undef TG_UNDER
#undef TG_CURVE
#undef TG_CURVE_TABLES
#endif
