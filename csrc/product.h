/* The one product: c [M,N] (+)= a [M,K] b [K,N], in register tiles. In: a with any strides, b in rows of vectors. Out: c.
 *
 * Every sum runs over k = 0..K-1 in one chain of fma, whatever the tile, so a row's bits do not depend on its neighbours.
 * A tile holds `rows` x `width` registers of sums; each step of k loads `width` vectors of b and one number of a for each row. */
#ifndef TIDEGATE_PRODUCT_H
#define TIDEGATE_PRODUCT_H

#include "vec.h"

namespace {

/* One tile's arrays. Strides count elements. k runs over `segments` runs of `run` numbers: a moves by a_k inside a run and by
 * a_segment from run to run; b moves by b_k throughout. */
template <class T> struct Tile {
  const T *a;
  int64_t a_row, a_k, a_segment;
  const T *b;
  int64_t b_k;
  const T *init; /* where sums start: [rows, width] with stride init_row (0: the same for all rows); NULL: zero */
  int64_t init_row;
  T *c; /* may be init */
  int64_t c_row;
  int64_t segments, run;
};

constexpr int max_width = 4; /* vectors side by side */
/* Rows of a full tile: as many sums as registers hold beside a row of b. */
constexpr int tile_rows(int width) {
  return registers == 32 ? (width >= 4 ? 6 : width == 3 ? 8 : 12) : (width >= 4 ? 2 : width == 3 ? 4 : width == 2 ? 6 : 12);
}

template <class T, int rows, int width> __attribute__((noinline)) void tile_product(const Tile<T> &t) {
  V<T> sum[rows][width];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < width; ++v) sum[r][v] = t.init ? load(t.init + r * t.init_row + v * lanes<T>) : V<T>{};
  const T *a = t.a, *b = t.b;
  const int64_t a_row = t.a_row, a_k = t.a_k, b_k = t.b_k, run = t.run;
  for (int64_t s = 0; s < t.segments; ++s, a += t.a_segment) {
    const T *ak = a;
    for (int64_t k = 0; k < run; ++k, ak += a_k, b += b_k) {
      V<T> bv[width];
#pragma GCC unroll 4
      for (int v = 0; v < width; ++v) bv[v] = load(b + v * lanes<T>);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        const V<T> x = all(ak[r * a_row]);
#pragma GCC unroll 4
        for (int v = 0; v < width; ++v) sum[r][v] = fma(x, bv[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < width; ++v) store(t.c + r * t.c_row + v * lanes<T>, sum[r][v]);
}

template <class T> using TileProduct = void (*)(const Tile<T> &);

template <class T, int width, int... rows> constexpr TileProduct<T> choose(int n, std::integer_sequence<int, rows...>) {
  constexpr TileProduct<T> table[] = {tile_product<T, rows + 1, width>...};
  return table[n - 1];
}
template <class T, int width> TileProduct<T> tile_of(int rows) {
  return choose<T, width>(rows, std::make_integer_sequence<int, tile_rows(width)>());
}
template <class T> TileProduct<T> tile_of(int width, int rows) {
  return width >= 4 ? tile_of<T, 4>(rows) : width == 3 ? tile_of<T, 3>(rows) : width == 2 ? tile_of<T, 2>(rows) : tile_of<T, 1>(rows);
}

/* One vector of a panel's rows: to[k * row + lane] = from[lane][k] for k < n; 0 where from[lane] is NULL. */
template <class T> void lay_out_columns(T *to, int64_t row, const T *const *from, int64_t n) {
  V<T> block[lanes<T>];
  int64_t k = 0;
  for (; k + lanes<T> <= n; k += lanes<T>) {
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes<T>; ++lane) {
      block[lane] = from[lane] ? load(from[lane] + k) : V<T>{};
      __builtin_prefetch(from[lane] + k + 4 * lanes<T>);
    }
    transpose<T>(block);
#pragma GCC unroll 16
    for (int j = 0; j < lanes<T>; ++j) store(to + (k + j) * row, block[j]);
  }
  for (; k < n; ++k)
    for (int lane = 0; lane < lanes<T>; ++lane) to[k * row + lane] = from[lane] ? from[lane][k] : T(0);
}

/* All rows of one panel of `width` vectors, in tiles of even height. */
template <class T> void panel_product(Tile<T> t, int64_t rows, int width) {
  if (rows <= 0) return;
  const int64_t tiles = (rows + tile_rows(width) - 1) / tile_rows(width), least = rows / tiles, taller = rows % tiles;
  for (int64_t k = 0; k < tiles; ++k) {
    const int64_t n = least + (k < taller);
    tile_of<T>(width, int(n))(t);
    t.a += n * t.a_row;
    t.init = t.init ? t.init + n * t.init_row : nullptr;
    t.c += n * t.c_row;
  }
}

}  // namespace
#endif
