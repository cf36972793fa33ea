/* The pointwise mathematics of the cells, forward above backward. The common subset of C99 and C++17: no libc, no branches.
 *
 * The file that includes this one defines, for one type at a time:
 *   TG_REAL          a number, or a vector of them with + - * / and unary minus
 *   TG_INLINE        how small functions are declared
 *   TG_SET(c)        a TG_REAL of the constant c
 *   TG_FMA(a, b, c)  a * b + c
 *   TG_LESS(a, b, x, y)  x where a < b, else y; y where a or b is NaN
 *   TG_MINUS(a, b)   a - b, if there is a better way than to write it so
 * and either TG_EXP(x) and TG_EXPM1(x), or, for 32-bit numbers, TG_POW2(s), 2^k from s = k + 1.5 * 2^23 with k in [-126, 127].
 *
 * A cell is three functions over the products g of one unit. The first two turn them into what backward needs, in place; they are
 * two, run one after the other over many units, because one long chain of operations a unit leaves the processor waiting (60 against
 * 34 ns for 16 units of an LSTM):
 *   gates(g, c, &c_next)
 *   output(g, h, c_next, &h_next)
 *   backward(g, h, c, dh, dc, d, &dh_prev, &dc_prev): dh, dc are gradients of h_next, c_next; d those of the products;
 *   dh_prev, dc_prev what reaches the old state beside the products.
 * Names: docs/explanation/cells.md derives each. */

#ifndef TG_MINUS
#define TG_MINUS(a, b) ((a) - (b))
#endif

/* e^x and e^x - 1. Reduction to r = x - k ln 2, |r| <= ln 2 / 2 in two parts (Cody & Waite 1980); the polynomial is that of Cephes
 * expf (Moshier 1989). Relative error below 2e-7 over all numbers whose result is not denormal. NaN stays NaN. */
#ifndef TG_EXP
TG_INLINE TG_REAL tg_clamp(TG_REAL x, TG_REAL low, TG_REAL high) {
  x = TG_LESS(x, low, low, x);
  return TG_LESS(high, x, high, x);
}

/* Returns e^r - 1; power = 2^(k - lower). */
TG_INLINE TG_REAL tg_reduced_expm1(TG_REAL x, TG_REAL lower, TG_REAL *power) {
  const TG_REAL magic = TG_SET(12582912.0f);
  const TG_REAL shifted = TG_FMA(x, TG_SET(1.44269504088896341f), magic);
  const TG_REAL k = TG_MINUS(shifted, magic);
  TG_REAL r = TG_FMA(k, TG_SET(-0.693359375f), x);
  r = TG_FMA(k, TG_SET(2.12194440e-4f), r);
  const TG_REAL r2 = r * r;
  const TG_REAL low = TG_FMA(TG_SET(1.6666665459e-1f), r, TG_SET(5.0000001201e-1f));
  const TG_REAL middle = TG_FMA(TG_SET(8.3334519073e-3f), r, TG_SET(4.1665795894e-2f));
  const TG_REAL high = TG_FMA(TG_SET(1.9875691500e-4f), r, TG_SET(1.3981999507e-3f));
  const TG_REAL q = TG_FMA(TG_FMA(high, r2, middle), r2, low);
  *power = TG_POW2(TG_MINUS(shifted, lower));
  return TG_FMA(q, r2, r);
}

/* Clamped: at least 1.2e-38, at most 2.4e38. */
TG_INLINE TG_REAL tg_exp_clamped(TG_REAL x) {
  TG_REAL power;
  const TG_REAL p = tg_reduced_expm1(tg_clamp(x, TG_SET(-87.33654f), TG_SET(88.37626f)), TG_SET(0.0f), &power);
  return TG_FMA(p, power, power);
}

TG_INLINE TG_REAL tg_exp(TG_REAL x) {
  const TG_REAL lowest = TG_SET(-87.33654f), highest = TG_SET(88.72283f), zero = TG_SET(0.0f), one = TG_SET(1.0f);
  const TG_REAL within = tg_clamp(x, lowest, highest);
  /* Far from 0 the power is moved and moved back at the end: 2^128 is not a number, and near 2^-126 p * power is denormal. */
  const TG_REAL shift = TG_LESS(within, -one, TG_SET(-24.0f), TG_LESS(one, within, one, zero));
  const TG_REAL back = TG_LESS(within, -one, TG_SET(5.9604644775390625e-8f), one + shift);
  TG_REAL power;
  const TG_REAL p = tg_reduced_expm1(within, shift, &power);
  const TG_REAL y = TG_FMA(p, power, power) * back;
  return TG_LESS(x, lowest, zero, TG_LESS(highest, x, one / zero, y));
}

TG_INLINE TG_REAL tg_expm1_within(TG_REAL x, TG_REAL bound) {
  TG_REAL power;
  const TG_REAL p = tg_reduced_expm1(tg_clamp(x, -bound, bound), TG_SET(0.0f), &power);
  return TG_FMA(p, power, TG_MINUS(power, TG_SET(1.0f)));
}
#define TG_EXP_CLAMPED(x) tg_exp_clamped(x)
#define TG_EXPM1_WITHIN(x, bound) tg_expm1_within(x, bound)
#else
TG_INLINE TG_REAL tg_exp(TG_REAL x) { return TG_EXP(x); }
#define TG_EXP_CLAMPED(x) TG_EXP(x)
#define TG_EXPM1_WITHIN(x, bound) TG_EXPM1(TG_LESS(bound, x, bound, x))
#endif

/* 1 / (1 + e^-x) */
TG_INLINE TG_REAL tg_sigmoid(TG_REAL x) { return TG_SET(1.0f) / (TG_SET(1.0f) + TG_EXP_CLAMPED(-x)); }

/* (e^2x - 1) / (e^2x + 1), exact to the last bits near 0 too; 1 in 32 bits from |x| = 9.02, in 64 from 19.1. */
TG_INLINE TG_REAL tg_tanh(TG_REAL x) {
  const TG_REAL m = TG_EXPM1_WITHIN(x + x, TG_SET(40.0f));
  return m / (m + TG_SET(2.0f));
}

/* The RNNs have no gates. */
TG_INLINE void tg_no_gates(TG_REAL *g, TG_REAL c, TG_REAL *c_next) {
  *c_next = c;
  (void)g;
}

/* Elman 1990. h' = tanh(g) */
TG_INLINE void tg_rnn_tanh_output(TG_REAL *g, TG_REAL h, TG_REAL c_next, TG_REAL *h_next) {
  *h_next = g[0] = tg_tanh(g[0]);
  (void)h, (void)c_next;
}
TG_INLINE void tg_rnn_tanh_backward(const TG_REAL *g, TG_REAL h, TG_REAL c, TG_REAL dh, TG_REAL dc, TG_REAL *d, TG_REAL *dh_prev,
                                    TG_REAL *dc_prev) {
  d[0] = dh * TG_FMA(-g[0], g[0], TG_SET(1.0f));
  *dh_prev = TG_SET(0.0f);
  *dc_prev = dc;
  (void)h, (void)c;
}

/* Le et al. 2015. h' = max(0, g); NaN stays NaN */
TG_INLINE void tg_rnn_relu_output(TG_REAL *g, TG_REAL h, TG_REAL c_next, TG_REAL *h_next) {
  *h_next = g[0] = TG_LESS(g[0], TG_SET(0.0f), TG_SET(0.0f), g[0]);
  (void)h, (void)c_next;
}
TG_INLINE void tg_rnn_relu_backward(const TG_REAL *g, TG_REAL h, TG_REAL c, TG_REAL dh, TG_REAL dc, TG_REAL *d, TG_REAL *dh_prev,
                                    TG_REAL *dc_prev) {
  const TG_REAL off = TG_LESS(g[0], TG_SET(1.0f), TG_SET(0.0f), dh); /* NaN lets dh through, as in PyTorch */
  d[0] = TG_LESS(TG_SET(0.0f), g[0], dh, off);
  *dh_prev = TG_SET(0.0f);
  *dc_prev = dc;
  (void)h, (void)c;
}

/* Hochreiter & Schmidhuber 1997; Gers et al. 2000. g = i, f, g, o
 * i, f, o = sigmoid(.)   g = tanh(.)   c' = f c + i g   h' = o tanh(c') */
TG_INLINE void tg_lstm_gates(TG_REAL *g, TG_REAL c, TG_REAL *c_next) {
  g[0] = tg_sigmoid(g[0]);
  g[1] = tg_sigmoid(g[1]);
  g[2] = tg_tanh(g[2]);
  g[3] = tg_sigmoid(g[3]);
  *c_next = TG_FMA(g[1], c, g[0] * g[2]);
}
TG_INLINE void tg_lstm_output(TG_REAL *g, TG_REAL h, TG_REAL c_next, TG_REAL *h_next) {
  *h_next = g[3] * tg_tanh(c_next);
  (void)h;
}
/* Adds to *dc what reaches c' through the output. */
TG_INLINE void tg_lstm_output_backward(TG_REAL o, TG_REAL c_next, TG_REAL dh, TG_REAL *d_o, TG_REAL *dc) {
  const TG_REAL one = TG_SET(1.0f), t = tg_tanh(c_next);
  *dc = TG_FMA(dh * o, TG_FMA(-t, t, one), *dc);
  *d_o = dh * t * (o * (one - o));
}
TG_INLINE void tg_lstm_gates_backward(const TG_REAL *g, TG_REAL c, TG_REAL dc, TG_REAL *d, TG_REAL *dc_prev) {
  const TG_REAL one = TG_SET(1.0f), i = g[0], f = g[1], n = g[2];
  d[0] = dc * n * (i * (one - i));
  d[1] = dc * c * (f * (one - f));
  d[2] = dc * i * TG_FMA(-n, n, one);
  *dc_prev = dc * f;
}
TG_INLINE void tg_lstm_backward(const TG_REAL *g, TG_REAL h, TG_REAL c, TG_REAL dh, TG_REAL dc, TG_REAL *d, TG_REAL *dh_prev,
                                TG_REAL *dc_prev) {
  tg_lstm_output_backward(g[3], TG_FMA(g[1], c, g[0] * g[2]), dh, &d[3], &dc);
  tg_lstm_gates_backward(g, c, dc, d, dc_prev);
  *dh_prev = TG_SET(0.0f);
  (void)h;
}

/* Cho et al. 2014, reset after the product (PyTorch, cuDNN). g = a_n, r, z, u with u = U_n h + b of the candidate
 * r, z = sigmoid(.)   n = tanh(a_n + r u)   h' = (1 - z) n + z h */
TG_INLINE void tg_gru_gates(TG_REAL *g, TG_REAL c, TG_REAL *c_next) {
  g[1] = tg_sigmoid(g[1]);
  g[2] = tg_sigmoid(g[2]);
  *c_next = c;
}
TG_INLINE void tg_gru_output(TG_REAL *g, TG_REAL h, TG_REAL c_next, TG_REAL *h_next) {
  g[0] = tg_tanh(TG_FMA(g[1], g[3], g[0]));
  *h_next = TG_FMA(g[2], TG_MINUS(h, g[0]), g[0]);
  (void)c_next;
}
/* h' = (1 - z) n + z h: gradients of the sums inside n and z, and of h. */
TG_INLINE void tg_gru_blend_backward(TG_REAL n, TG_REAL z, TG_REAL h, TG_REAL dh, TG_REAL *d_n, TG_REAL *d_z, TG_REAL *dh_prev) {
  const TG_REAL one = TG_SET(1.0f);
  *d_n = dh * (one - z) * TG_FMA(-n, n, one);
  *d_z = dh * (h - n) * (z * (one - z));
  *dh_prev = dh * z;
}
TG_INLINE void tg_gru_backward(const TG_REAL *g, TG_REAL h, TG_REAL c, TG_REAL dh, TG_REAL dc, TG_REAL *d, TG_REAL *dh_prev,
                               TG_REAL *dc_prev) {
  const TG_REAL r = g[1], u = g[3];
  tg_gru_blend_backward(g[0], g[2], h, dh, &d[0], &d[2], dh_prev);
  d[1] = d[0] * u * (r * (TG_SET(1.0f) - r));
  d[3] = d[0] * r;
  *dc_prev = dc;
  (void)c;
}

/* Cho et al. 2014 as published, reset before the product. Two pieces, the product U_n s between them:
 * r, z = sigmoid(.)   s = r h   n = tanh(a_n + U_n s)   h' = (1 - z) n + z h */
TG_INLINE void tg_gru_reset(TG_REAL *r, TG_REAL *z, TG_REAL h, TG_REAL *s) {
  *r = tg_sigmoid(*r);
  *z = tg_sigmoid(*z);
  *s = *r * h;
}
TG_INLINE void tg_gru_reset_backward(TG_REAL r, TG_REAL h, TG_REAL ds, TG_REAL *d_r, TG_REAL *dh_prev) {
  *d_r = ds * h * (r * (TG_SET(1.0f) - r));
  *dh_prev = ds * r;
}
TG_INLINE void tg_gru_blend(TG_REAL *n, TG_REAL z, TG_REAL h, TG_REAL *h_next) {
  *n = tg_tanh(*n);
  *h_next = TG_FMA(z, TG_MINUS(h, *n), *n);
}

#undef TG_EXP_CLAMPED
#undef TG_EXPM1_WITHIN
