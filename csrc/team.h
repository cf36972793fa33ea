/* What one thread of a team sees: its rows, its share of the units, its arrays. In: a Job. Out: Team<T, C>, gathers and scatters. */
#ifndef TIDEGATE_TEAM_H
#define TIDEGATE_TEAM_H

#include "core.h"
#include "math.h"
#include "product.h"

namespace {

using tg::Group;
using tg::Job;
using tg::Layout;

/* A stretch of whole things; `share` is what rank of size owns. */
struct Range {
  int64_t first, last;
};
TG_INLINE Range share(int64_t count, int rank, int size) { return {count * rank / size, count * (rank + 1) / size}; }

/* Vectors side by side in panels of even width, at most max_width. */
struct Panels {
  int64_t vectors, count;
  explicit Panels(int64_t vectors_) : vectors(vectors_), count((vectors_ + max_width - 1) / max_width) {}
  int64_t first(int64_t p) const { return p * (vectors / count) + (p < vectors % count ? p : vectors % count); }
  int width(int64_t p) const { return int(first(p + 1) - first(p)); }
};

/* Hands out parts of one block of memory; with no block it only counts. */
struct Arena {
  char *base;
  int64_t used;
  template <class T> T *take(int64_t count) {
    T *p = base ? reinterpret_cast<T *>(base + used) : nullptr;
    used += tg::round_up(count * int64_t(sizeof(T)));
    return p;
  }
};

/* Arrays of a team. R = rows of a block of time. */
template <class T> struct Scratch {
  T *x;             /* [R, x_row] inputs of the block, padded with zeros */
  T *gates;         /* [R, kept_row] where no reserve holds them */
  T *h[2], *hd[2];  /* [rows, h_row] state before and after a step; hd: as it enters the product */
  T *c;             /* [rows, h_row] */
  T *h_prev, *hd_prev; /* [R, hs_row] backward: state before each step of the block */
  T *d;             /* [R, d_row] gradients of the products */
  T *dh, *dc;       /* [rows, h_row] gradients that flow back through time */
  T *dmask;         /* [rows, h_row] product with weight_hh before drop_h */
  T *dx;            /* [R, x_row] */
  T *dw_x, *dw_h;   /* [gate_rows, x_row], [gate_rows, hs_row] */
  T *db;            /* [kept_row] */

  static Scratch lay_out(Arena *arena, const Job &job, const Group &group, bool backward) {
    const Layout &l = job.layout;
    const int64_t n = group.rows, r = l.block_rows > n ? l.block_rows : n;
    const bool own_gates = backward ? job.layer.recompute : !job.keep || job.layer.recompute;
    Scratch s = {};
    s.x = arena->take<T>(r * l.x_row);
    if (own_gates) s.gates = arena->take<T>(r * l.kept_row);
    if (!backward) {
      for (auto &h : s.h) h = arena->take<T>(n * l.h_row);
      for (int k = 0; k < 2; ++k) s.hd[k] = job.layer.drop_h ? arena->take<T>(n * l.h_row) : s.h[k];
      s.c = arena->take<T>(n * l.h_row);
      return s;
    }
    s.c = arena->take<T>(n * l.h_row);
    s.h_prev = arena->take<T>(r * l.hs_row);
    s.hd_prev = job.layer.drop_h ? arena->take<T>(r * l.hs_row) : s.h_prev;
    s.d = arena->take<T>(r * l.d_row);
    s.dh = arena->take<T>(n * l.h_row);
    s.dc = arena->take<T>(n * l.h_row);
    s.dmask = job.layer.drop_h ? arena->take<T>(n * l.h_row) : nullptr;
    s.dx = arena->take<T>(r * l.x_row);
    s.dw_x = arena->take<T>(l.gate_rows * l.x_row);
    s.dw_h = arena->take<T>(l.gate_rows * l.hs_row);
    s.db = arena->take<T>(l.kept_row);
    return s;
  }
};

/* What forward leaves for backward: gates unless they are recomputed, and the LSTM's c after every step. Rows of all teams follow
 * each other, so that the size does not depend on how the batch is split. */
template <class T> struct Reserve {
  T *gates, *c; /* [total, kept_row], [total, h_row] of this team */
  Reserve(const Job &job, const Group &group, int direction) : gates(nullptr), c(nullptr) {
    if (!job.reserve) return;
    T *base = reinterpret_cast<T *>(job.reserve);
    const int64_t before = direction * job.total + group.before, all_rows = job.total * job.layer.directions;
    if (!job.layer.recompute) gates = base + before * job.layout.kept_row;
    c = base + (job.layer.recompute ? 0 : all_rows * job.layout.kept_row) + before * job.layout.h_row;
  }
};

template <class T, class C> class Team {
 public:
  Team(Job *job_, int team, int rank_, bool backward)
      : job(*job_), l(job_->layout), layer(job_->layer), group(job_->groups[team % job_->group_count]),
        direction(team / job_->group_count), rank(rank_), size(job_->team_size), barrier(&job_->team_barriers[team]),
        weights(job_->weights[direction]), panels(C::gates == 1 ? Panels(l.blocks) : one_block_each(l.blocks)), columns(l.blocks),
        own_panels(share(panels.count, rank, size)), own_columns(share(columns.count, rank, size)),
        own_blocks{columns.first(own_columns.first), columns.first(own_columns.last)}, reserve(*job_, group, direction) {
    Arena arena = {job.scratch[team], 0};
    s = Scratch<T>::lay_out(&arena, job, group, backward);
  }

  void meet() const { tg::meet(barrier, size); }

  int64_t length(int64_t row) const { return layer.lengths ? layer.lengths[group.order[row]] : layer.steps; }
  /* Where the t-th step of the direction stands in the row. */
  int64_t place(int64_t row, int64_t t) const { return direction ? length(row) - 1 - t : t; }
  /* Start of the row's H numbers in a [D,B,H] array. */
  template <class P> P *state_row(P *array, int64_t row) const {
    return array + (direction * layer.batch + group.order[row]) * layer.hidden_size;
  }
  const T *zone_row(const void *zone, int64_t row, int64_t t) const {
    const int64_t step = layer.zone_steps == 1 ? 0 : place(row, t);
    return static_cast<const T *>(zone) + ((direction * layer.zone_steps + step) * layer.batch + group.order[row]) * layer.hidden_size;
  }
  /* Where the t-th step of a row stands in an array with these strides. */
  int64_t offset(int64_t row, int64_t t, int64_t batch, int64_t step) const {
    const int64_t where = place(row, t);
    return job.starts ? (job.starts[where] + group.order[row]) * batch : group.order[row] * batch + where * step;
  }
  /* Whether a row's steps stand closer together than a step's rows. */
  bool by_row(int64_t batch, int64_t step) const { return !job.starts && step < batch; }
  template <class P> P *y_row(P *y, int64_t y_batch, int64_t y_step, int64_t row, int64_t t) const {
    return y + offset(row, t, y_batch, y_step) + direction * layer.hidden_size;
  }
  /* Valid lanes of a block of units. */
  int64_t valid(int64_t block) const { return layer.hidden_size - block * l.lanes; }
  /* The last step that still fits into the block of time which starts at `first`. */
  int64_t block_end(int64_t first) const {
    int64_t t = first + 1;
    while (t < group.steps && group.offset[t + 1] - group.offset[first] <= l.block_rows) ++t;
    return t;
  }
  int64_t block_start(int64_t last) const {
    int64_t t = last - 1;
    while (t > 0 && group.offset[last] - group.offset[t - 1] <= l.block_rows) --t;
    return t;
  }

  /* f(t, row) for every `turn`-th row from `row` on at steps [first, last): in the order in which the caller's array stands in memory,
   * which the processor can follow; a step's rows lie too many streams apart. */
  template <class F> void each_row(int64_t first, int64_t last, bool rows_first, int64_t row, int64_t turn, F f) const {
    if (rows_first) {
      for (int64_t r = row; r < group.active[first]; r += turn)
        for (int64_t t = first; t < last && r < group.active[t]; ++t) f(t, r);
      return;
    }
    for (int64_t t = first; t < last; ++t)
      for (int64_t r = row; r < group.active[t]; r += turn) f(t, r);
  }

  /* x of steps [first, last) into rows side by side; the team's threads take turns. */
  void gather_x(int64_t first, int64_t last) const {
    const T *x = static_cast<const T *>(layer.x);
    each_row(first, last, by_row(layer.x_batch, layer.x_step), rank, size, [&](int64_t t, int64_t r) {
      copy_padded(s.x + (group.offset[t] - group.offset[first] + r) * l.x_row, x + offset(r, t, layer.x_batch, layer.x_step), layer.input_size, l.x_row);
    });
  }

  /* from [n] -> to [stride], zeros beyond n. */
  static void copy_padded(T *to, const T *from, int64_t n, int64_t stride) {
    if (n) std::memcpy(to, from, size_t(n) * sizeof(T));
    std::memset(to + n, 0, size_t(stride - n) * sizeof(T));
  }

  /* sums = start + x W_ih^T for the `rows` gathered rows; products that h alone enters get their bias. Own panels. */
  void product_of_x(T *gates, int64_t rows) const {
    const int64_t w = l.lanes;
    const T *start = static_cast<const T *>(weights.start), *b = static_cast<const T *>(weights.x_panels);
    for (int64_t p = own_panels.first; p < own_panels.last; ++p) {
      const int64_t at = panels.first(p) * C::kept * w;
      const int width = panels.width(p) * C::gates;
      Tile<T> tile = {s.x, l.x_row, 1, 0, b + panels.first(p) * C::gates * w * layer.input_size, width * w,
                      start + at + C::x_first * w, 0, gates + at + C::x_first * w, l.kept_row, 1, layer.input_size};
      panel_product(tile, rows, width);
      if (C::kept > C::gates)
        for (int64_t r = 0; r < rows; ++r) store(gates + r * l.kept_row + at + C::gates * w, load(start + at + C::gates * w));
    }
  }

  /* sums += h W_hh^T for one panel. */
  void product_of_h(int64_t p, T *gates, const T *h, int64_t h_row, int64_t rows) const {
    const int64_t w = l.lanes, at = (panels.first(p) * C::kept + C::h_first) * w;
    const int width = panels.width(p) * C::gates;
    const T *b = static_cast<const T *>(weights.h_panels) + panels.first(p) * C::gates * w * layer.hidden_size;
    panel_product(Tile<T>{h, h_row, 1, 0, b, width * w, gates + at, l.kept_row, gates + at, l.kept_row, 1, layer.hidden_size}, rows, width);
  }

  const Job &job;
  const Layout &l;
  const tg_layer &layer;
  const Group &group;
  const int direction, rank, size;
  tg::Barrier *const barrier;
  const tg::Weights &weights;
  const Panels panels, columns; /* panels of products (blocks side by side), panels of units (columns of W_hh) */
  const Range own_panels, own_columns, own_blocks;
  const Reserve<T> reserve;
  Scratch<T> s;

 private:
  static Panels one_block_each(int64_t blocks) {
    Panels p(blocks);
    p.count = blocks;
    return p;
  }
};

}  // namespace
#endif
