/* The pointwise pieces of the generic loop: functions of cell.h with their operands, over rows. In: Rows<T>. Out: the same. */
#ifndef TIDEGATE_GENERIC_PIECES_H
#define TIDEGATE_GENERIC_PIECES_H

#include "core.h"
#include "math.h"

namespace {

/* A pointwise piece over the operands v of one unit, in the program's order. forward: writes those in `made`. backward: reads v and
 * the gradients d of those in `given`, and sets the gradients to of those in `reached`. Sets are bits, operand 0 lowest. */
struct RnnTanh { /* sum, h */
  static constexpr unsigned operands = 2, made = 2, given = 2, reached = 1;
  template <class R> TG_INLINE void forward(R *v) { tg_rnn_tanh_output(v, v[1], v[1], v + 1); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) {
    R none = {};
    tg_rnn_tanh_backward(v + 1, v[1], v[1], d[1], none, to, &none, &none);
  }
};
struct RnnRelu { /* sum, h */
  static constexpr unsigned operands = 2, made = 2, given = 2, reached = 1;
  template <class R> TG_INLINE void forward(R *v) { tg_rnn_relu_output(v, v[1], v[1], v + 1); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) {
    R none = {};
    tg_rnn_relu_backward(v + 1, v[1], v[1], d[1], none, to, &none, &none);
  }
};
struct LstmGates { /* i, f, g, o, c, c' */
  static constexpr unsigned operands = 6, made = 32 + 15, given = 32, reached = 16 + 7;
  template <class R> TG_INLINE void forward(R *v) { tg_lstm_gates(v, v[4], v + 5); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) { tg_lstm_gates_backward(v, v[4], d[5], to, to + 4); }
};
struct LstmOutput { /* i, f, g, o, c' or its norm, h' */
  static constexpr unsigned operands = 6, made = 32, given = 32, reached = 16 + 8;
  template <class R> TG_INLINE void forward(R *v) { tg_lstm_output(v, v[4], v[4], v + 5); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) {
    to[4] = R{};
    tg_lstm_output_backward(v[3], v[4], d[5], to + 3, to + 4);
  }
};
struct GruAfter { /* n, r, z, u, h, h' */
  static constexpr unsigned operands = 6, made = 32 + 7, given = 32, reached = 16 + 15;
  template <class R> TG_INLINE void forward(R *v) {
    R none;
    tg_gru_gates(v, v[4], &none);
    tg_gru_output(v, v[4], none, v + 5);
  }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) {
    R none = {};
    tg_gru_backward(v, v[4], none, d[5], none, to, to + 4, &none);
  }
};
struct GruReset { /* r, z, h, r h */
  static constexpr unsigned operands = 4, made = 8 + 3, given = 8, reached = 4 + 1;
  template <class R> TG_INLINE void forward(R *v) { tg_gru_reset(v, v + 1, v[2], v + 3); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) { tg_gru_reset_backward(v[0], v[2], d[3], to, to + 2); }
};
struct GruBlend { /* n, z, h, h' */
  static constexpr unsigned operands = 4, made = 8 + 1, given = 8, reached = 4 + 3;
  template <class R> TG_INLINE void forward(R *v) { tg_gru_blend(v, v[1], v[2], v + 3); }
  template <class R> TG_INLINE void backward(const R *v, const R *d, R *to) {
    tg_gru_blend_backward(v[0], v[1], v[2], d[3], to, to + 1, to + 2);
  }
};
template <class F> void with_piece(tg::Op op, F f) {
  switch (op) {
    case tg::op_rnn_tanh: return f(RnnTanh());
    case tg::op_rnn_relu: return f(RnnRelu());
    case tg::op_lstm_gates: return f(LstmGates());
    case tg::op_lstm_output: return f(LstmOutput());
    case tg::op_gru_after: return f(GruAfter());
    case tg::op_gru_reset: return f(GruReset());
    default: return f(GruBlend());
  }
}

/* Rows of one operand. */
template <class T> struct Rows {
  T *at;
  int64_t row;
};

template <class T, class P> void piece_forward(const Rows<T> *v, int64_t rows, int64_t numbers) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < numbers; k += lanes<T>) {
      V<T> x[P::operands];
#pragma GCC unroll 6
      for (unsigned j = 0; j < P::operands; ++j) x[j] = load(v[j].at + r * v[j].row + k);
      P::forward(x);
#pragma GCC unroll 6
      for (unsigned j = 0; j < P::operands; ++j)
        if (P::made >> j & 1) store(v[j].at + r * v[j].row + k, x[j]);
    }
}
template <class T, class P> void piece_backward(const Rows<T> *v, const Rows<T> *d, int64_t rows, int64_t numbers) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < numbers; k += lanes<T>) {
      V<T> x[P::operands], dx[P::operands], to[P::operands];
#pragma GCC unroll 6
      for (unsigned j = 0; j < P::operands; ++j) {
        x[j] = load(v[j].at + r * v[j].row + k);
        dx[j] = P::given >> j & 1 ? load(d[j].at + r * d[j].row + k) : V<T>{};
      }
      P::backward(x, dx, to);
#pragma GCC unroll 6
      for (unsigned j = 0; j < P::operands; ++j)
        if (P::reached >> j & 1) {
          T *at = d[j].at + r * d[j].row + k;
          store(at, load(at) + to[j]);
        }
    }
}

}  // namespace
#endif
