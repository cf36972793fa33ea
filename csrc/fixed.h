/* The cells of int8 nets in whole numbers. The common subset of C99 and C++17: no libc, no branches, the same on every processor.
 *
 * The file that includes this one defines:
 *   TG_INT             a 32-bit number, or a vector of them with + - * & and an arithmetic >> (floor of a division by a power of two)
 *   TG_INLINE          how small functions are declared
 *   TG_WHOLE(c)        a TG_INT of the constant c
 *   TG_UNDER(a, b, x, y)  x where a < b, else y
 *   TG_CURVE(j, k)     the j-th row of TG_CURVE_0 ... 3 at the places k, each from 0 to 31
 *   TG_CURVE_TABLES    the declarations of what TG_CURVE reads, or nothing
 *
 * Units. Products' sums g and states h, c: 2^-16, at most 2^23 of them, which a float32 holds exactly. What a product reads of h
 * (tg_read): 14 bits, 2^-13. Gates and tanh: 2^-15. A product in other units is rounded to the nearest, halves upwards. */

/* tanh over 32 quarters of [0, 8): c0 + c1 f + c2 f^2 + c3 f^3 in units of 2^-18, f in [0, 1) the place within the quarter; through
 * the Chebyshev nodes of each. Within 1.5e-5. The NumPy twin, runtime/whole.py, makes them. */
#define TG_CURVE_0                                                                                                                  \
  -1, 64203, 121140, 166500, 199647, 222373, 237279, 246776, 252714, 256384, 258635, 260010, 260848, 261357, 261666, 261854, 261968, \
      262037, 262079, 262105, 262120, 262130, 262135, 262139, 262141, 262142, 262143, 262143, 262144, 262144, 262144, 262144
#define TG_CURVE_1                                                                                                                  \
  65552, 61647, 51578, 39116, 27526, 18372, 11836, 7453, 4626, 2846, 1741, 1062, 646, 393, 238, 145, 88, 53, 32, 20, 12, 7, 4, 3, 2, 1, \
      1, 0, 0, 0, 0, 0
#define TG_CURVE_2                                                                                                                  \
  -74, -3979, -6142, -6300, -5253, -3873, -2648, -1728, -1096, -683, -421, -258, -157, -96, -58, -35, -21, -13, -8, -5, -3, -2, -1, -1, \
      0, 0, 0, 0, 0, 0, 0, 0
#define TG_CURVE_3                                                                                                                  \
  -1274, -730, -77, 331, 453, 407, 308, 212, 139, 88, 55, 34, 21, 13, 8, 5, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#if defined(TG_CURVE_TABLES)
TG_CURVE_TABLES
#endif

TG_INLINE TG_INT tg_bound(TG_INT x, TG_INT most) {
  x = TG_UNDER(x, -most, -most, x);
  return TG_UNDER(most, x, most, x);
}

/* Sums and states stay within this. */
TG_INLINE TG_INT tg_held(TG_INT x) { return tg_bound(x, TG_WHOLE(8388607)); }

/* What a product reads of a state. */
TG_INLINE TG_INT tg_read(TG_INT h) { return tg_bound((h + TG_WHOLE(4)) >> 3, TG_WHOLE(8191)); }

/* tanh(x / 2^halve) in units of 2^-18; x in those of 2^-16, halve 0 or 1. */
TG_INLINE TG_INT tg_curve(TG_INT x, int halve) {
  const TG_INT zero = TG_WHOLE(0), size = TG_UNDER(x, zero, -x, x), most = TG_WHOLE((1 << 19) - 1);
  const TG_INT a = TG_UNDER(most, size >> halve, most, size >> halve), k = a >> 14, f = a & TG_WHOLE(16383);
  TG_INT y = TG_CURVE(2, k) + ((TG_CURVE(3, k) * f) >> 14);
  y = TG_CURVE(1, k) + ((y * f) >> 14);
  y = TG_CURVE(0, k) + ((y * f) >> 14);
  return TG_UNDER(x, zero, -y, y);
}
TG_INLINE TG_INT tg_tanh_whole(TG_INT x) { return (tg_curve(x, 0) + TG_WHOLE(4)) >> 3; }
TG_INLINE TG_INT tg_sigmoid_whole(TG_INT x) { return (tg_curve(x, 1) + TG_WHOLE((1 << 18) + 8)) >> 4; }

/* share * x: share in units of 2^-15, from 0 to 1; |x| at most 2^23. In two parts, so that 32 bits hold the products. */
TG_INLINE TG_INT tg_share(TG_INT share, TG_INT x) {
  return (share * (x >> 8) + ((share * (x & TG_WHOLE(255))) >> 8) + TG_WHOLE(64)) >> 7;
}

/* One unit: g in the order of PyTorch's rows; the states before and after. cell.h names the sources. */
TG_INLINE TG_INT tg_rnn_tanh_whole(TG_INT g) { return tg_tanh_whole(g) * TG_WHOLE(2); }

/* Two functions, one run after the other over many units, as in cell.h. */
TG_INLINE TG_INT tg_lstm_cell_whole(TG_INT i, TG_INT f, TG_INT n, TG_INT c) {
  const TG_INT entering = (tg_sigmoid_whole(i) * tg_tanh_whole(n) + TG_WHOLE(1 << 13)) >> 14;
  return tg_held(tg_share(tg_sigmoid_whole(f), c) + entering);
}
TG_INLINE TG_INT tg_lstm_output_whole(TG_INT o, TG_INT c) {
  return (tg_sigmoid_whole(o) * tg_tanh_whole(c) + TG_WHOLE(1 << 13)) >> 14;
}

/* n and u: the candidate's sums of x and of h. */
TG_INLINE TG_INT tg_gru_whole(TG_INT r, TG_INT z, TG_INT n, TG_INT u, TG_INT h) {
  const TG_INT new_h = tg_tanh_whole(tg_held(n + tg_share(tg_sigmoid_whole(r), u))) * TG_WHOLE(2);
  return new_h + tg_share(tg_sigmoid_whole(z), h - new_h);
}
