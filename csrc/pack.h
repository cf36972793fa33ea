/* Weights into the order of the kernels, and gradients of weights back. In: PyTorch's matrices. Out: panels; or the reverse.
 *
 * A gate row is one row of a weight matrix in the kernels' order: block of units, gate, lane. Padded units have rows of zeros. */
#ifndef TIDEGATE_PACK_H
#define TIDEGATE_PACK_H

#include "team.h"

namespace {

template <class T, class C> class Packing {
 public:
  Packing(const Job &job_, int direction_, int rank_)
      : job(job_), l(job_.layout), layer(job_.layer), to(job_.weights[direction_]), direction(direction_), rank(rank_) {}

  void forward() const {
    if (to.x_panels) products(static_cast<T *>(to.x_panels), static_cast<const T *>(layer.weight_ih[direction]), layer.input_size, C::x_first);
    if (to.h_panels) products(static_cast<T *>(to.h_panels), static_cast<const T *>(layer.weight_hh[direction]), layer.hidden_size, C::h_first);
    if (to.start && rank == 0) starts(static_cast<T *>(to.start));
  }

  void backward() const {
    if (to.dx_panels)
      columns(static_cast<T *>(to.dx_panels), static_cast<const T *>(layer.weight_ih[direction]), layer.input_size, l.x_vectors, C::x_first);
    columns(static_cast<T *>(to.dh_panels), static_cast<const T *>(layer.weight_hh[direction]), layer.hidden_size, l.blocks, C::h_first);
  }

  /* Sums over the groups of rows, in PyTorch's order. */
  void gradients() const {
    const tg_gradients &io = job.grad;
    weight(io.dweight_ih[direction], layer.input_size, C::x_first, l.x_row, [](const Scratch<T> &s) { return s.dw_x; });
    weight(io.dweight_hh[direction], layer.hidden_size, C::h_first, l.hs_row, [](const Scratch<T> &s) { return s.dw_h; });
    if (rank) return;
    bias(static_cast<T *>(io.dbias_ih[direction]), C::x_first);
    bias(static_cast<T *>(io.dbias_hh[direction]), C::h_first);
  }

 private:
  /* Row of PyTorch's matrix for a gate of a unit; -1 for padding. */
  int64_t row_of(int first, int64_t slot, int64_t unit) const {
    return unit < layer.hidden_size ? C::gate(int(first + slot)) * layer.hidden_size + unit : -1;
  }

  /* [panel][k][width * lanes] from w [G,K]. */
  void products(T *panels_to, const T *w, int64_t n, int first) const {
    const Panels panels = C::gates == 1 ? Panels(l.blocks) : Panels(l.blocks * max_width);
    const int64_t count = C::gates == 1 ? panels.count : l.blocks;
    const Range own = share(count, rank, job.threads);
    for (int64_t p = own.first; p < own.last; ++p) {
      const int64_t block = C::gates == 1 ? panels.first(p) : p;
      const int64_t vectors = C::gates == 1 ? panels.width(p) : C::gates, row = vectors * l.lanes;
      T *at = panels_to + block * C::gates * l.lanes * n;
      for (int64_t v = 0; v < vectors; ++v) {
        const T *from[lanes<T>];
        for (int lane = 0; lane < lanes<T>; ++lane) {
          const int64_t k = row_of(first, v % C::gates, (block + v / C::gates) * l.lanes + lane);
          from[lane] = k < 0 ? nullptr : w + k * n;
        }
        lay_out_columns(at + v * l.lanes, row, from, n);
      }
    }
  }

  void starts(T *start) const {
    const T *b_ih = static_cast<const T *>(layer.bias_ih[direction]), *b_hh = static_cast<const T *>(layer.bias_hh[direction]);
    for (int64_t block = 0; block < l.blocks; ++block)
      for (int kept = 0; kept < C::kept; ++kept)
        for (int64_t lane = 0; lane < l.lanes; ++lane) {
          const int64_t unit = block * l.lanes + lane, row = C::gate(kept) * layer.hidden_size + unit;
          const bool real = unit < layer.hidden_size;
          const bool of_x = kept >= C::x_first && kept < C::x_first + C::gates, of_h = kept >= C::h_first && kept < C::h_first + C::gates;
          start[(block * C::kept + kept) * l.lanes + lane] =
              (real && of_x && b_ih ? b_ih[row] : T(0)) + (real && of_h && b_hh ? b_hh[row] : T(0));
        }
  }

  /* [panel of columns][gate row][width * lanes] from w [G,n]. */
  void columns(T *panels_to, const T *w, int64_t n, int64_t vectors, int first) const {
    const Panels panels(vectors);
    const Range own = share(l.gate_rows, rank, job.threads);
    for (int64_t p = 0; p < panels.count; ++p) {
      const int64_t at = panels.first(p) * l.lanes, row = panels.width(p) * l.lanes, real = n - at < row ? n - at : row;
      T *panel = panels_to + at * l.gate_rows;
      for (int64_t k = own.first; k < own.last; ++k) {
        const int64_t vector = k / l.lanes, from = row_of(first, vector % C::gates, vector / C::gates * l.lanes + k % l.lanes);
        if (from < 0) std::memset(panel + k * row, 0, size_t(row) * sizeof(T));
        else Team<T, C>::copy_padded(panel + k * row, w + from * n + at, real, row);
      }
    }
  }

  Scratch<T> scratch(int group) const {
    Arena arena = {job.scratch[direction * job.group_count + group], 0};
    return Scratch<T>::lay_out(&arena, job, job.groups[group], true);
  }

  template <class Part> void weight(void *gradient, int64_t n, int first, int64_t stride, Part part) const {
    if (!gradient) return;
    const Range own = share(l.gate_rows, rank, job.threads);
    for (int64_t k = own.first; k < own.last; ++k) {
      const int64_t vector = k / l.lanes, row = row_of(first, vector % C::gates, vector / C::gates * l.lanes + k % l.lanes);
      if (row < 0) continue;
      T *out = static_cast<T *>(gradient) + row * n;
      for (int g = 0; g < job.group_count; ++g) {
        const T *from = part(scratch(g)) + k * stride;
        if (g == 0) std::memcpy(out, from, size_t(n) * sizeof(T));
        else
          for (int64_t j = 0; j < n; ++j) out[j] += from[j];
      }
    }
  }

  void bias(T *out, int first) const {
    if (!out) return;
    for (int64_t unit = 0; unit < layer.hidden_size; ++unit)
      for (int slot = 0; slot < C::gates; ++slot) {
        T sum = 0;
        for (int g = 0; g < job.group_count; ++g)
          sum += scratch(g).db[((unit / l.lanes) * C::kept + first + slot) * l.lanes + unit % l.lanes];
        out[row_of(first, slot, unit)] = sum;
      }
  }

  const Job &job;
  const Layout &l;
  const tg_layer &layer;
  const tg::Weights &to;
  const int direction, rank;
};

}  // namespace
#endif
