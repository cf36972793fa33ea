/* Operations of the running half beside the loop: linear, softmax, norm, pool, elementwise functions. Rows are independent; sums run
 * in one order that depends on the row's length alone. */
#ifndef TIDEGATE_PRIMITIVES_H
#define TIDEGATE_PRIMITIVES_H

#include "core.h"
#include "math.h"
#include "team.h"

namespace {

/* A linear layer laid out: panels of at most max_width vectors of outputs, [panel][bias, then k][width * lanes]. */
template <class T> void pack_linear_of(int64_t n, int64_t k, const T *w, const T *b, T *to) {
  const Panels panels((n + lanes<T> - 1) / lanes<T>);
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t row = panels.width(p) * lanes<T>, first = panels.first(p) * lanes<T>;
    T *panel = to + first * (k + 1);
    for (int64_t j = 0; j < row; ++j) panel[j] = first + j < n && b ? b[first + j] : T(0);
    for (int64_t j = 0; j < row; j += lanes<T>) {
      const T *from[lanes<T>];
      for (int lane = 0; lane < lanes<T>; ++lane) from[lane] = first + j + lane < n ? w + (first + j + lane) * k : nullptr;
      lay_out_columns(panel + row + j, row, from, k);
    }
  }
}

template <class T> void linear_of(int64_t m, int64_t n, int64_t k, const T *x, int64_t x_row, const T *packed, T *y, int64_t y_row) {
  const Panels panels((n + lanes<T> - 1) / lanes<T>);
  constexpr int64_t piece = 48;
  alignas(64) T sums[piece * max_width * lanes<T>];
  for (int64_t p = 0; p < panels.count; ++p) {
    const int64_t row = panels.width(p) * lanes<T>, first = panels.first(p) * lanes<T>, real = n - first < row ? n - first : row;
    const T *panel = packed + first * (k + 1);
    for (int64_t r = 0; r < m; r += piece) {
      const int64_t rows = m - r < piece ? m - r : piece;
      T *to = y + r * y_row + first;
      const bool whole = real == row; /* else the last vectors would write beyond the row */
      panel_product(Tile<T>{x + r * x_row, x_row, 1, 0, panel + row, row, panel, 0, whole ? to : sums, whole ? y_row : row, 1, k}, rows,
                    panels.width(p));
      for (int64_t j = 0; j < rows && !whole; ++j) std::memcpy(to + j * y_row, sums + j * row, size_t(real) * sizeof(T));
    }
  }
}

template <class T> void apply_of(int function, int64_t n, const T *x, T *y) {
  for (int64_t k = 0; k < n; k += lanes<T>) {
    const V<T> v = load_upto(x + k, n - k);
    store_upto(y + k, function == TG_EXP ? tg_exp(v) : function == TG_TANH ? tg_tanh(v) : tg_sigmoid(v), n - k);
  }
}

/* Lane by lane, then the lanes in order: fixed by the length. */
template <class T> T sum_of(const T *x, int64_t n) {
  V<T> sum = {};
  for (int64_t k = 0; k < n; k += lanes<T>) sum = sum + load_upto(x + k, n - k);
  T total = 0;
  for (int k = 0; k < lanes<T>; ++k) total += sum[k];
  return total;
}

template <class T> void softmax_of(int64_t m, int64_t k, const int64_t *lengths, const T *x, T *y) {
  for (int64_t r = 0; r < m; ++r, x += k, y += k) {
    const int64_t n = lengths ? lengths[r] : k;
    T highest = n ? x[0] : T(0);
    for (int64_t j = 1; j < n; ++j) highest = x[j] > highest || x[j] != x[j] ? x[j] : highest;
    for (int64_t j = 0; j < n; j += lanes<T>) store_upto(y + j, tg_exp(load_upto(x + j, n - j) - all(highest)), n - j);
    const T total = sum_of(y, n);
    for (int64_t j = 0; j < n; ++j) y[j] /= total;
    for (int64_t j = n; j < k; ++j) y[j] = 0;
  }
}

template <class T> void norm_of(int64_t m, int64_t k, const T *x, const T *gain, const T *bias, double eps, T *y) {
  for (int64_t r = 0; r < m; ++r, x += k, y += k) {
    const T mean = sum_of(x, k) / T(k);
    V<T> squares = {};
    for (int64_t j = 0; j < k; j += lanes<T>) {
      const V<T> centred = load_upto(x + j, k - j) - all(mean);
      squares = squares + (k - j >= lanes<T> ? centred * centred : load_part(reinterpret_cast<const T *>(&centred), k - j) * centred);
    }
    T total = 0;
    for (int j = 0; j < lanes<T>; ++j) total += squares[j];
    const T scale = T(1) / std::sqrt(total / T(k) + T(eps));
    for (int64_t j = 0; j < k; ++j) y[j] = (x[j] - mean) * scale * gain[j] + bias[j];
  }
}

template <class T> void pool_of(int pooling, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const T *x, T *y) {
  for (int64_t r = 0; r < b; ++r, x += t * c, y += c) {
    const int64_t n = lengths ? lengths[r] : t;
    for (int64_t j = 0; j < c; ++j) {
      T sum = n ? x[j] : T(0);
      for (int64_t s = 1; s < n; ++s) {
        const T v = x[s * c + j];
        sum = pooling == TG_MEAN ? sum + v : v > sum || v != v ? v : sum;
      }
      y[j] = pooling == TG_MEAN && n ? sum / T(n) : sum;
    }
  }
}

template <class T> void weigh_of(int64_t b, int64_t t, int64_t c, const int64_t *lengths, const T *w, const T *x, T *y) {
  for (int64_t r = 0; r < b; ++r, w += t, x += t * c, y += c) {
    const int64_t n = lengths ? lengths[r] : t;
    for (int64_t j = 0; j < c; ++j) y[j] = 0;
    for (int64_t s = 0; s < n; ++s)
      for (int64_t j = 0; j < c; ++j) y[j] += w[s] * x[s * c + j];
  }
}

#define TG_BY_DTYPE(call, T, ...)          \
  if (dtype == TG_F32) {                   \
    using T = float;                       \
    call(__VA_ARGS__);                     \
  } else {                                 \
    using T = double;                      \
    call(__VA_ARGS__);                     \
  }

void pack_linear(int dtype, int64_t n, int64_t k, const void *w, const void *b, void *packed) {
  TG_BY_DTYPE(pack_linear_of<T>, T, n, k, static_cast<const T *>(w), static_cast<const T *>(b), static_cast<T *>(packed))
}
void linear(int dtype, int64_t m, int64_t n, int64_t k, const void *x, int64_t x_row, const void *packed, void *y, int64_t y_row) {
  const FlushDenormals mode;
  TG_BY_DTYPE(linear_of<T>, T, m, n, k, static_cast<const T *>(x), x_row, static_cast<const T *>(packed), static_cast<T *>(y), y_row)
}
void softmax(int dtype, int64_t m, int64_t k, const int64_t *lengths, const void *x, void *y) {
  const FlushDenormals mode;
  TG_BY_DTYPE(softmax_of<T>, T, m, k, lengths, static_cast<const T *>(x), static_cast<T *>(y))
}
void norm(int dtype, int64_t m, int64_t k, const void *x, const void *gain, const void *bias, double eps, void *y) {
  const FlushDenormals mode;
  TG_BY_DTYPE(norm_of<T>, T, m, k, static_cast<const T *>(x), static_cast<const T *>(gain), static_cast<const T *>(bias), eps,
              static_cast<T *>(y))
}
void pool(int dtype, int pooling, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *x, void *y) {
  const FlushDenormals mode;
  TG_BY_DTYPE(pool_of<T>, T, pooling, b, t, c, lengths, static_cast<const T *>(x), static_cast<T *>(y))
}
void weigh(int dtype, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *w, const void *x, void *y) {
  const FlushDenormals mode;
  TG_BY_DTYPE(weigh_of<T>, T, b, t, c, lengths, static_cast<const T *>(w), static_cast<const T *>(x), static_cast<T *>(y))
}
void apply(int dtype, int function, int64_t n, const void *x, void *y) {
  const FlushDenormals mode;
  TG_BY_DTYPE(apply_of<T>, T, function, n, static_cast<const T *>(x), static_cast<T *>(y))
}
#undef TG_BY_DTYPE

}  // namespace
#endif
