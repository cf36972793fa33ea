/* Backward through time, for every cell. In: a Job with the forward's reserve and gradients of the outputs. Out: gradients of x,
 * the initial states and all weights.
 *
 * A block of time, last first: step by step one pointwise phase (gradients of the products, d) and one product (d W_hh, what reaches
 * the state before); then, for the whole block at once, dx = d W_ih and the weights' gradients d^T x and d^T h. */
#ifndef TIDEGATE_BACKWARD_H
#define TIDEGATE_BACKWARD_H

#include "team.h"

namespace {

template <class T, class C> class Backward : Team<T, C> {
  using Base = Team<T, C>;
  using Base::columns, Base::direction, Base::group, Base::job, Base::l, Base::layer, Base::own_blocks, Base::own_columns, Base::own_panels,
      Base::panels, Base::rank, Base::reserve, Base::s, Base::size, Base::weights;

 public:
  Backward(Job *job, int team, int rank) : Base(job, team, rank, true), io(job->grad) {}

  void run() {
    load_states();
    clear_sums();
    this->meet();
    for (int64_t last = group.steps; last > 0;) {
      const int64_t first = this->block_start(last);
      const T *gates = open_block(first, last);
      for (int64_t t = last - 1; t >= first; --t) step(t, first, gates + (group.offset[t] - group.offset[first]) * l.kept_row);
      close_block(first, last);
      last = first;
    }
    store_states();
  }

 private:
  int64_t rows_before(int64_t t, int64_t first) const { return group.offset[t] - group.offset[first]; }

  /* The block's inputs and states side by side, and its gates, rebuilt where they were not kept. */
  const T *open_block(int64_t first, int64_t last) {
    this->gather_x(first, last);
    gather_h(first, last);
    this->meet();
    if (!layer.recompute) return reserve.gates + group.offset[first] * l.kept_row;
    const int64_t rows = rows_before(last, first);
    this->product_of_x(s.gates, rows);
    for (int64_t p = own_panels.first; p < own_panels.last; ++p) {
      this->product_of_h(p, s.gates, s.hd_prev, l.hs_row, rows);
      for (int64_t t = first; t < last; ++t)
        for (int64_t r = 0; r < group.active[t]; ++r)
          for (int64_t u = panels.first(p); u < panels.first(p + 1); ++u) rebuild(t, r, u, rows_before(t, first) + r);
    }
    this->meet();
    return s.gates;
  }

  void rebuild(int64_t t, int64_t r, int64_t u, int64_t at_row) {
    const int64_t at = u * l.lanes;
    T *g = s.gates + at_row * l.kept_row + at * C::kept;
    V<T> v[C::kept], h_next, c_next;
    for (int k = 0; k < C::kept; ++k) v[k] = load(g + k * l.lanes);
    C::open(v, C::has_c ? load(c_before(t, r) + at) : V<T>{}, &c_next);
    if (C::output_kept) C::output(v, load(s.h_prev + at_row * l.hs_row + at), c_next, &h_next);
    for (int k = 0; k < C::kept; ++k) store(g + k * l.lanes, v[k]);
  }

  const T *c_before(int64_t t, int64_t row) const {
    return t ? reserve.c + (group.offset[t - 1] + row) * l.h_row : s.c + row * l.h_row;
  }

  void step(int64_t t, int64_t first, const T *gates) {
    const int64_t n = group.active[t];
    T *d = s.d + rows_before(t, first) * l.d_row;
    for (int64_t r = 0; r < n; ++r)
      for (int64_t u = own_blocks.first; u < own_blocks.last; ++u) unit_block(t, r, u, rows_before(t, first) + r, gates, d);
    this->meet();
    for (int64_t p = own_columns.first; p < own_columns.last; ++p) {
      const int64_t w = l.lanes, at = columns.first(p) * w;
      const T *b = static_cast<const T *>(weights.dh_panels) + at * l.gate_rows;
      T *sums = (layer.drop_h ? s.dmask : s.dh) + at;
      panel_product(Tile<T>{d + C::h_first * w, l.d_row, 1, C::kept * w, b, columns.width(p) * w, layer.drop_h ? nullptr : sums, l.h_row, sums,
                            l.h_row, l.blocks, C::gates * w},
                    n, columns.width(p));
      if (layer.drop_h) add_dropped(p, n);
    }
  }

  void add_dropped(int64_t p, int64_t n) {
    for (int64_t r = 0; r < n; ++r)
      for (int64_t u = columns.first(p); u < columns.first(p + 1); ++u) {
        const int64_t at = u * l.lanes;
        const V<T> drop = load_upto(this->state_row(static_cast<const T *>(layer.drop_h), r) + at, this->valid(u));
        T *dh = s.dh + r * l.h_row + at;
        store(dh, fma(drop, load(s.dmask + r * l.h_row + at), load(dh)));
      }
  }

  inline __attribute__((always_inline)) void unit_block(int64_t t, int64_t r, int64_t u, int64_t at_row, const T *gates, T *d) {
    const int64_t at = u * l.lanes, left = this->valid(u);
    V<T> v[C::kept], dv[C::kept], dh_prev, dc_prev;
    for (int k = 0; k < C::kept; ++k) v[k] = load(gates + r * l.kept_row + at * C::kept + k * l.lanes);
    T *dh_at = s.dh + r * l.h_row + at, *dc_at = s.dc + r * l.h_row + at;
    V<T> dh = load(dh_at), dc = C::has_c ? load(dc_at) : V<T>{}, dh_kept = {}, dc_kept = {};
    if (io.dy) {
      const auto dy = [&](int64_t step) { return this->y_row(static_cast<const T *>(io.dy), io.dy_batch, io.dy_step, r, step) + at; };
      dh = dh + load_upto(dy(t), left);
      if (t) __builtin_prefetch(dy(t - 1)); /* the rows are too many streams for the processor to foresee */
    }
    if (layer.zone_h) dh = split(layer.zone_h, t, r, at, left, dh, &dh_kept);
    if (C::has_c && layer.zone_c) dc = split(layer.zone_c, t, r, at, left, dc, &dc_kept);
    C::backward(v, load(s.h_prev + at_row * l.hs_row + at), C::has_c ? load(c_before(t, r) + at) : V<T>{}, dh, dc, dv, &dh_prev, &dc_prev);
    for (int k = 0; k < C::kept; ++k) {
      T *to = d + r * l.d_row + at * C::kept + k * l.lanes;
      store(to, dv[k]);
      if (left < l.lanes) /* padded units may hold NaN beside an infinite x: they must not reach dx */
        for (int64_t j = left; j < l.lanes; ++j) to[j] = 0;
    }
    store(dh_at, dh_prev + dh_kept);
    if (C::has_c) store(dc_at, dc_prev + dc_kept);
  }

  /* The old state's share of a gradient goes to `kept`, the rest is returned. */
  V<T> split(const void *zone, int64_t t, int64_t r, int64_t at, int64_t left, V<T> d, V<T> *kept) const {
    *kept = load_upto(this->zone_row(zone, r, t) + at, left) * d;
    return d - *kept;
  }

  void close_block(int64_t first, int64_t last) {
    const int64_t rows = rows_before(last, first);
    this->meet();
    if (io.dx && layer.input_size) dx_of_block(first, last);
    const Range blocks = share(l.blocks, rank, size);
    if (io.dweight_ih[direction]) weight_sums(s.dw_x, l.x_row, C::x_first, s.x, l.x_row, layer.input_size, blocks, rows);
    if (io.dweight_hh[direction]) weight_sums(s.dw_h, l.hs_row, C::h_first, s.hd_prev, l.hs_row, layer.hidden_size, blocks, rows);
    if (io.dbias_ih[direction] || io.dbias_hh[direction]) bias_sums(blocks, rows);
    this->meet();
  }

  void dx_of_block(int64_t first, int64_t last) {
    const int64_t rows = rows_before(last, first), w = l.lanes, per = 24; /* rows that one thread takes at a time */
    const Panels over(l.x_vectors);
    const Range pieces = share((rows + per - 1) / per, rank, size);
    const Range own = {pieces.first * per, pieces.last * per < rows ? pieces.last * per : rows};
    for (int64_t p = 0; p < over.count && own.first < own.last; ++p) {
      const int64_t at = over.first(p) * w;
      const T *b = static_cast<const T *>(weights.dx_panels) + at * l.gate_rows;
      panel_product(Tile<T>{s.d + own.first * l.d_row + C::x_first * w, l.d_row, 1, C::kept * w, b, over.width(p) * w, nullptr, 0,
                            s.dx + own.first * l.x_row + at, l.x_row, l.blocks, C::gates * w},
                    own.last - own.first, over.width(p));
    }
    this->each_row(first, last, this->by_row(io.dx_batch, io.dx_step), 0, 1, [&](int64_t t, int64_t r) {
      const int64_t k = rows_before(t, first) + r;
      if (own.first <= k && k < own.last) std::memcpy(dx_row(r, t), s.dx + k * l.x_row, size_t(layer.input_size) * sizeof(T));
    });
  }

  /* Both directions write dx: the backward one beside it, to be added at the end. */
  T *dx_row(int64_t row, int64_t t) const {
    if (direction) return static_cast<T *>(job.dx_other) + this->offset(row, t, layer.input_size * (job.starts ? 1 : layer.steps), layer.input_size);
    return static_cast<T *>(io.dx) + this->offset(row, t, io.dx_batch, io.dx_step);
  }

  /* sums [gate rows, n] += d^T from [rows, n], for some blocks of units. */
  void weight_sums(T *sums, int64_t stride, int offset, const T *from, int64_t from_row, int64_t n, Range blocks, int64_t rows) {
    const int64_t w = l.lanes;
    const Panels over((n + w - 1) / w);
    const int64_t run = C::kept == C::gates ? blocks.last - blocks.first : 1; /* blocks whose rows follow each other */
    for (int64_t p = 0; p < over.count && run; ++p)
      for (int64_t u = blocks.first; u < blocks.last; u += run) {
        T *to = sums + u * C::gates * w * stride + over.first(p) * w;
        panel_product(Tile<T>{s.d + (u * C::kept + offset) * w, 1, l.d_row, 0, from + over.first(p) * w, from_row, to, stride, to, stride, 1, rows},
                      run * C::gates * w, over.width(p));
      }
  }

  void bias_sums(Range blocks, int64_t rows) {
    for (int64_t v = blocks.first * C::kept; v < blocks.last * C::kept; ++v) {
      V<T> sum = load(s.db + v * l.lanes);
      for (int64_t r = 0; r < rows; ++r) sum = sum + load(s.d + r * l.d_row + v * l.lanes);
      store(s.db + v * l.lanes, sum);
    }
  }

  /* h before each step of the block: y of the step before, or h0; and as it entered the product. */
  void gather_h(int64_t first, int64_t last) const {
    const int64_t n = layer.hidden_size;
    this->each_row(first, last, this->by_row(io.y_batch, io.y_step), rank, size, [&](int64_t t, int64_t r) {
      T *to = s.h_prev + (rows_before(t, first) + r) * l.hs_row;
      const T *from = t ? this->y_row(static_cast<const T *>(io.y), io.y_batch, io.y_step, r, t - 1)
                        : layer.h0 ? this->state_row(static_cast<const T *>(layer.h0), r) : nullptr;
      this->copy_padded(to, from, from ? n : 0, l.hs_row);
      if (!layer.drop_h) return;
      const T *drop = this->state_row(static_cast<const T *>(layer.drop_h), r);
      T *dropped = s.hd_prev + (rows_before(t, first) + r) * l.hs_row;
      for (int64_t k = 0; k < n; ++k) dropped[k] = to[k] * drop[k];
      std::memset(dropped + n, 0, size_t(l.hs_row - n) * sizeof(T));
    });
  }

  void load_states() {
    for (int64_t r = rank; r < group.rows; r += size) {
      load_state(s.dh + r * l.h_row, io.dhn, r);
      if (!C::has_c) continue;
      load_state(s.dc + r * l.h_row, io.dcn, r);
      load_state(s.c + r * l.h_row, layer.c0, r);
    }
  }
  void load_state(T *to, const void *states, int64_t row) const {
    const int64_t n = states ? layer.hidden_size : 0;
    if (n) std::memcpy(to, this->state_row(static_cast<const T *>(states), row), size_t(n) * sizeof(T));
    std::memset(to + n, 0, size_t(l.h_row - n) * sizeof(T));
  }
  void store_states() {
    this->meet();
    for (int64_t r = rank; r < group.rows; r += size) {
      const size_t bytes = size_t(layer.hidden_size) * sizeof(T);
      if (io.dh0) std::memcpy(this->state_row(static_cast<T *>(io.dh0), r), s.dh + r * l.h_row, bytes);
      if (C::has_c && io.dc0) std::memcpy(this->state_row(static_cast<T *>(io.dc0), r), s.dc + r * l.h_row, bytes);
      if (!io.dx || !layer.input_size || job.starts) continue;
      for (int64_t t = this->length(r); t < layer.steps; ++t) {
        T *to = direction ? static_cast<T *>(job.dx_other) + (group.order[r] * layer.steps + t) * layer.input_size
                          : static_cast<T *>(io.dx) + group.order[r] * io.dx_batch + t * io.dx_step;
        std::memset(to, 0, size_t(layer.input_size) * sizeof(T));
      }
    }
  }
  void clear_sums() {
    const Range rows = share(l.gate_rows, rank, size), kept = share(l.kept_row, rank, size);
    if (io.dweight_ih[direction]) std::memset(s.dw_x + rows.first * l.x_row, 0, size_t((rows.last - rows.first) * l.x_row) * sizeof(T));
    if (io.dweight_hh[direction]) std::memset(s.dw_h + rows.first * l.hs_row, 0, size_t((rows.last - rows.first) * l.hs_row) * sizeof(T));
    std::memset(s.db + kept.first, 0, size_t(kept.last - kept.first) * sizeof(T));
  }

  const tg_gradients &io;
};

}  // namespace
#endif
