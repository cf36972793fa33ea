/* cell.h for registers of float and of double. In: V<T>. Out: tg_exp, tg_tanh, tg_sigmoid and the cells as overloads, Cell<T, kind>. */
#ifndef TIDEGATE_MATH_H
#define TIDEGATE_MATH_H

#include "tidegate.h"
#include "vec.h"

namespace {

/* float64 serves tests and oracles: the C library's functions, number by number. */
TG_INLINE V<double> each_exp(V<double> x) {
  for (int k = 0; k < lanes<double>; ++k) x[k] = std::exp(x[k]);
  return x;
}
TG_INLINE V<double> each_expm1(V<double> x) {
  for (int k = 0; k < lanes<double>; ++k) x[k] = std::expm1(x[k]);
  return x;
}

#define TG_FMA(a, b, c) fma(a, b, c)
#define TG_LESS(a, b, x, y) ((a) < (b) ? (x) : (y))

#define TG_REAL V<float>
#define TG_SET(value) (all<float>(value))
#define TG_POW2(shifted) pow2_of_shifted(shifted)
#include "cell.h"
#undef TG_REAL
#undef TG_SET
#undef TG_POW2

#define TG_REAL V<double>
#define TG_SET(value) (all<double>(value))
#define TG_EXP(x) each_exp(x)
#define TG_EXPM1(x) each_expm1(x)
#include "cell.h"
#undef TG_REAL
#undef TG_SET
#undef TG_EXP
#undef TG_EXPM1
#undef TG_FMA
#undef TG_LESS

/* What the loop knows of a cell: how many products of a unit are kept, which of them x and h enter, and its three functions.
 * `kept` vectors stand side by side for each block of units; x enters `gates` of them from x_first, h from h_first. */
template <int kind> struct Cell;

#define TG_CELL(kind, gates_function, name, kept_, gates_, x_first_, h_first_, has_c_, has_gates_)                       \
  template <> struct Cell<kind> {                                                                                       \
    static constexpr int kept = kept_, gates = gates_, x_first = x_first_, h_first = h_first_;                           \
    static constexpr int output_kept = has_c_ ? 0 : 1; /* vectors that output() writes */                                \
    static constexpr bool has_c = has_c_, has_gates = has_gates_;                                                       \
    /* The place in PyTorch's order of the gate that a kept vector belongs to: the GRU keeps n, r, z, n. */              \
    static constexpr int gate(int vector) { return kept_ == gates_ ? vector : (vector + 2) % 3; }                        \
    template <class R> TG_INLINE void open(R *g, R c, R *c_next) { gates_function(g, c, c_next); }                       \
    template <class R> TG_INLINE void output(R *g, R h, R c_next, R *h_next) { name##_output(g, h, c_next, h_next); }    \
    template <class R> TG_INLINE void backward(const R *g, R h, R c, R dh, R dc, R *d, R *dh_prev, R *dc_prev) {         \
      name##_backward(g, h, c, dh, dc, d, dh_prev, dc_prev);                                                            \
    }                                                                                                                   \
  };
TG_CELL(TG_RNN_TANH, tg_no_gates, tg_rnn_tanh, 1, 1, 0, 0, false, false)
TG_CELL(TG_RNN_RELU, tg_no_gates, tg_rnn_relu, 1, 1, 0, 0, false, false)
TG_CELL(TG_LSTM, tg_lstm_gates, tg_lstm, 4, 4, 0, 0, true, true)
TG_CELL(TG_GRU, tg_gru_gates, tg_gru, 4, 3, 0, 1, false, true)
#undef TG_CELL

}  // namespace
#endif
