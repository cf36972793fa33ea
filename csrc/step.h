/* One step of one row through a stack of layers, at the speed of reading its weights. In: laid out weights, x, state. Out: state, y.
 *
 * The loop of forward.h walks many rows and steps; here is one of each, so sums never leave their registers between the products with x
 * and with h and the pointwise phase, and several blocks of units stand side by side to hide the latency of a chain of fma. Every sum
 * runs in forward.h's order, from the bias over x, then over h: the same bits. */
#ifndef TIDEGATE_STEP_H
#define TIDEGATE_STEP_H

#include "team.h"

namespace {

using tg::StepLayer;

template <class T, class C> class Step {
 public:
  /* h_to = the state after the step; c in place. All of h_row numbers; `sums` [kept_row]: where the sums of h start. x NULL: they
   * hold the product with x already. */
  static void run(const StepLayer &l, const T *x, const T *sums, const T *h, T *h_to, T *c) {
    if (C::gates == 1) {
      const Panels panels(l.blocks);
      for (int64_t p = 0; p < panels.count; ++p) with_width(panels.width(p), l, panels.first(p), x, sums, h, h_to, c);
      return;
    }
    int64_t block = 0;
    for (; block + most <= l.blocks; block += most) blocks<most>(l, block, x, sums, h, h_to, c);
    if (block < l.blocks) with_width(int(l.blocks - block), l, block, x, sums, h, h_to, c);
  }

  /* to [kept_row] = start + x W_ih^T. */
  static void sums_of_x(const StepLayer &l, const T *x, T *to) {
    for (int64_t block = 0; block < l.blocks; ++block) {
      V<T> sum[1][C::kept];
      begin<1>(l, block, static_cast<const T *>(l.weights.start), sum);
      if (C::gates == 1) {
        const Panels panels(l.blocks);
        int64_t p = 0;
        while (panels.first(p + 1) <= block) ++p;
        const int64_t row = panels.width(p) * lanes<T>;
        const T *w = static_cast<const T *>(l.weights.x_panels) + panels.first(p) * lanes<T> * l.input_size + (block - panels.first(p)) * lanes<T>;
        for (int64_t k = 0; k < l.input_size; ++k) sum[0][0] = fma(all(x[k]), load(w + k * row), sum[0][0]);
      } else {
        add<1, C::x_first>(static_cast<const T *>(l.weights.x_panels), block, x, l.input_size, sum);
      }
      for (int k = 0; k < C::kept; ++k) store(to + (block * C::kept + k) * lanes<T>, sum[0][k]);
    }
  }

 private:
  static constexpr int most = registers == 32 ? 4 : 2; /* blocks side by side; a panel of the RNNs has up to max_width */

  static void with_width(int width, const StepLayer &l, int64_t block, const T *x, const T *sums, const T *h, T *h_to, T *c) {
    switch (width) {
      case 1: return blocks<1>(l, block, x, sums, h, h_to, c);
      case 2: return blocks<2>(l, block, x, sums, h, h_to, c);
      case 3: return blocks<3>(l, block, x, sums, h, h_to, c);
      default: return blocks<4>(l, block, x, sums, h, h_to, c);
    }
  }

  template <int n> TG_INLINE void begin(const StepLayer &, int64_t block, const T *from, V<T> (&sum)[n][C::kept]) {
#pragma GCC unroll 4
    for (int b = 0; b < n; ++b)
#pragma GCC unroll 4
      for (int k = 0; k < C::kept; ++k) sum[b][k] = load(from + ((block + b) * C::kept + k) * lanes<T>);
  }

  /* sums += a w for `n` blocks; panels as Packing lays them out. */
  template <int n, int first> TG_INLINE void add(const T *panels, int64_t block, const T *a, int64_t size, V<T> (&sum)[n][C::kept]) {
    constexpr bool together = C::gates == 1; /* one panel holds the blocks; else each block has its own */
    const T *w = panels + block * C::gates * lanes<T> * size;
    const int64_t next = together ? lanes<T> : C::gates * lanes<T> * size, row = (together ? n : C::gates) * lanes<T>;
    for (int64_t k = 0; k < size; ++k, w += row) {
      const V<T> v = all(a[k]);
#pragma GCC unroll 4
      for (int b = 0; b < n; ++b)
#pragma GCC unroll 4
        for (int g = 0; g < C::gates; ++g) sum[b][first + g] = fma(v, load(w + b * next + g * lanes<T>), sum[b][first + g]);
    }
  }

  template <int n> static __attribute__((noinline)) void blocks(const StepLayer &l, int64_t block, const T *x, const T *sums, const T *h, T *h_to, T *c) {
    V<T> sum[n][C::kept], c_next[n];
    begin<n>(l, block, sums, sum);
    if (x) add<n, C::x_first>(static_cast<const T *>(l.weights.x_panels), block, x, l.input_size, sum);
    add<n, C::h_first>(static_cast<const T *>(l.weights.h_panels), block, h, l.hidden_size, sum);
#pragma GCC unroll 4
    for (int b = 0; b < n; ++b) {
      const int64_t at = (block + b) * lanes<T>;
      C::open(sum[b], C::has_c ? load(c + at) : V<T>{}, &c_next[b]);
      if (C::has_c) store(c + at, c_next[b]);
    }
#pragma GCC unroll 4
    for (int b = 0; b < n; ++b) {
      const int64_t at = (block + b) * lanes<T>;
      V<T> h_next;
      C::output(sum[b], load(h + at), c_next[b], &h_next);
      store(h_to + at, h_next);
    }
  }
};

}  // namespace
#endif
