/* Forward over time, for every cell. In: a Job whose weights are laid out. Out: y, final states, and the reserve where it is kept.
 *
 * A block of time is one product with x, then step by step one product with h and one pointwise phase. */
#ifndef TIDEGATE_FORWARD_H
#define TIDEGATE_FORWARD_H

#include "team.h"

namespace {

template <class T, class C> class Forward : Team<T, C> {
  using Base = Team<T, C>;
  using Base::group, Base::job, Base::l, Base::layer, Base::own_panels, Base::panels, Base::rank, Base::reserve, Base::s, Base::size;

 public:
  Forward(Job *job, int team, int rank) : Base(job, team, rank, false), kept_c(job->keep && C::has_c) {}

  void run() {
    load_states();
    zero_padding();
    this->meet();
    for (int64_t first = 0; first < group.steps;) {
      const int64_t last = this->block_end(first);
      T *gates = s.gates ? s.gates : reserve.gates + group.offset[first] * l.kept_row;
      this->gather_x(first, last);
      this->meet();
      this->product_of_x(gates, group.offset[last] - group.offset[first]);
      for (int64_t t = first; t < last; ++t) step(t, gates + (group.offset[t] - group.offset[first]) * l.kept_row);
      first = last;
    }
  }

 private:
  void step(int64_t t, T *gates) {
    const int64_t n = group.active[t], ending = group.active[t + 1];
    for (int64_t p = own_panels.first; p < own_panels.last; ++p) {
      this->product_of_h(p, gates, s.hd[t & 1], l.h_row, n);
      const int64_t first = panels.first(p), last = panels.first(p + 1);
      if (C::has_gates)
        for (int64_t r = 0; r < n; ++r)
          for (int64_t u = first; u < last; ++u) open_gates(t, r, u, gates);
      for (int64_t r = 0; r < n; ++r)
        for (int64_t u = first; u < last; ++u) make_output(t, r, u, gates);
      for (int64_t r = ending; r < n; ++r)
        for (int64_t u = first; u < last; ++u) finish(r, u, s.h[(t + 1) & 1], c_after(t, r));
    }
    this->meet();
  }

  T *c_after(int64_t t, int64_t row) const {
    if (!C::has_c) return nullptr;
    return kept_c ? reserve.c + (group.offset[t] + row) * l.h_row : s.c + row * l.h_row;
  }
  const T *c_before(int64_t t, int64_t row) const {
    if (!C::has_c) return nullptr;
    return t && kept_c ? reserve.c + (group.offset[t - 1] + row) * l.h_row : s.c + row * l.h_row;
  }

  /* First pointwise pass over a block of units. Its c before zoneout waits in h's place for the second. */
  inline __attribute__((always_inline)) void open_gates(int64_t t, int64_t r, int64_t u, T *gates) {
    const int64_t at = u * l.lanes;
    T *g = gates + r * l.kept_row + at * C::kept;
    V<T> v[C::kept], c_next;
    for (int k = 0; k < C::kept; ++k) v[k] = load(g + k * l.lanes);
    const V<T> c = C::has_c ? load(c_before(t, r) + at) : V<T>{};
    C::open(v, c, &c_next);
    for (int k = 0; k < C::kept; ++k) store(g + k * l.lanes, v[k]);
    if (!C::has_c) return;
    store(s.h[(t + 1) & 1] + r * l.h_row + at, c_next);
    if (layer.zone_c) c_next = zoned(layer.zone_c, t, r, at, this->valid(u), c, c_next);
    store(c_after(t, r) + at, c_next);
  }

  inline __attribute__((always_inline)) void make_output(int64_t t, int64_t r, int64_t u, T *gates) {
    const int64_t at = u * l.lanes, left = this->valid(u);
    T *g = gates + r * l.kept_row + at * C::kept, *h_after = s.h[(t + 1) & 1] + r * l.h_row + at;
    V<T> v[C::kept], h_next;
    for (int k = 0; k < C::kept; ++k) v[k] = load(g + k * l.lanes);
    const V<T> h = load(s.h[t & 1] + r * l.h_row + at);
    C::output(v, h, C::has_c ? load(h_after) : V<T>{}, &h_next);
    if (layer.zone_h) h_next = zoned(layer.zone_h, t, r, at, left, h, h_next);
    for (int k = 0; k < C::output_kept; ++k) store(g + k * l.lanes, v[k]);
    store(h_after, h_next);
    if (layer.drop_h) {
      const T *drop = this->state_row(static_cast<const T *>(layer.drop_h), r) + at;
      store(s.hd[(t + 1) & 1] + r * l.h_row + at, h_next * load_upto(drop, left));
    }
    store_upto(this->y_row(static_cast<T *>(job.out.y), job.out.y_batch, job.out.y_step, r, t) + at, h_next, left);
  }

  V<T> zoned(const void *zone, int64_t t, int64_t r, int64_t at, int64_t left, V<T> old, V<T> now) const {
    const V<T> z = load_upto(this->zone_row(zone, r, t) + at, left), mixed = fma(z, old - now, now);
    return z <= all<T>(0) ? now : z >= all<T>(1) ? old : mixed; /* exactly, and whatever the other one holds */
  }

  void finish(int64_t row, int64_t u, const T *h, const T *c) const {
    const int64_t at = u * l.lanes, left = this->valid(u);
    store_upto(this->state_row(static_cast<T *>(job.out.hn), row) + at, load(h + row * l.h_row + at), left);
    if (C::has_c) store_upto(this->state_row(static_cast<T *>(job.out.cn), row) + at, load(c + at), left);
  }

  /* Initial states, padded; rows of length 0 are finished at once. */
  void load_states() {
    const int64_t h_size = layer.hidden_size;
    for (int64_t r = rank; r < group.rows; r += size) {
      load_state(s.h[0] + r * l.h_row, layer.h0, r);
      if (C::has_c) load_state(s.c + r * l.h_row, layer.c0, r);
      if (layer.drop_h) {
        const T *drop = this->state_row(static_cast<const T *>(layer.drop_h), r);
        std::memset(s.hd[0] + r * l.h_row, 0, size_t(l.h_row) * sizeof(T));
        for (int64_t k = 0; k < h_size; ++k) s.hd[0][r * l.h_row + k] = s.h[0][r * l.h_row + k] * drop[k];
      }
      if (this->length(r)) continue;
      std::memcpy(this->state_row(static_cast<T *>(job.out.hn), r), s.h[0] + r * l.h_row, size_t(h_size) * sizeof(T));
      if (C::has_c) std::memcpy(this->state_row(static_cast<T *>(job.out.cn), r), s.c + r * l.h_row, size_t(h_size) * sizeof(T));
    }
  }
  void load_state(T *to, const void *states, int64_t row) const {
    const int64_t n = states ? layer.hidden_size : 0;
    if (n) std::memcpy(to, this->state_row(static_cast<const T *>(states), row), size_t(n) * sizeof(T));
    std::memset(to + n, 0, size_t(l.h_row - n) * sizeof(T));
  }

  /* y past each row's length. */
  void zero_padding() const {
    if (job.starts) return;
    for (int64_t r = rank; r < group.rows; r += size)
      for (int64_t t = this->length(r); t < layer.steps; ++t)
        std::memset(static_cast<T *>(job.out.y) + group.order[r] * job.out.y_batch + t * job.out.y_step + this->direction * layer.hidden_size, 0,
                    size_t(layer.hidden_size) * sizeof(T));
  }

  const bool kept_c;
};

}  // namespace
#endif
