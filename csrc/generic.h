/* The generic step loop: programs of products, norms and pointwise pieces, forward and backward. In: a GenericJob whose parameters
 * are laid out. Out: y, final states and the reserve; or all gradients.
 *
 * A block of time: what x alone decides for all its steps at once, then step by step the rest. Backward walks blocks, steps and
 * instructions in reverse; a gradient is added wherever its slot was read. The weights' gradients are one product a block. */
#ifndef TIDEGATE_GENERIC_H
#define TIDEGATE_GENERIC_H

#include "generic_pack.h"
#include "generic_pieces.h"

namespace {

template <class T> V<T> only(V<T> v, int64_t n) {
  for (int64_t k = n; k < lanes<T>; ++k) v[k] = 0;
  return v;
}
/* Sum of f(offset) over the real numbers of some parts: lane by lane, then the lanes in order. */
template <class T, class F> T sum_over(const Slot &slot, int parts, F f) {
  V<T> sum = {};
  for (int p = 0; p < parts; ++p)
    for (int64_t k = 0; k < slot.size; k += lanes<T>) {
      const V<T> x = f(p * slot.part_row + k);
      sum = sum + (slot.size - k < lanes<T> ? only<T>(x, slot.size - k) : x);
    }
  T total = 0;
  for (int k = 0; k < lanes<T>; ++k) total += sum[k];
  return total;
}

/* What both passes see: rows, steps, slots. */
template <class T> class Walk {
 protected:
  Walk(GenericJob *job_, int team, bool backward)
      : all(*job_), job(job_->job), p(job_->program), layer(job.layer), group(job.groups[team % job.group_count]),
        direction(team / job.group_count), prepared(job_->prepared[direction]) {
    Arena arena = {job.scratch[team], 0};
    s = GenericScratch<T>::lay_out(&arena, all, group, backward);
    if (!job.reserve) return;
    int64_t rows_before = 0;
    for (const Group *g = job.groups; g < &group; ++g) rows_before += g->rows;
    T *at = reinterpret_cast<T *>(job.reserve);
    for (int k = 1; k < p.slot_count; ++k) {
      const Slot &slot = p.slots[k];
      const int64_t rows = job.total + (slot.state ? layer.batch : 0);
      s.value[k] = at + (direction * rows + group.before + (slot.state ? rows_before : 0)) * slot.row;
      at += layer.directions * rows * slot.row;
    }
  }

  int64_t length(int64_t row) const { return layer.lengths ? layer.lengths[group.order[row]] : layer.steps; }
  int64_t place(int64_t row, int64_t t) const { return direction ? length(row) - 1 - t : t; }
  int64_t size(int slot) const { return p.slots[slot].size; }
  template <class P> P *state_row(P *array, int slot, int64_t row) const {
    return array + (direction * layer.batch + group.order[row]) * size(slot);
  }
  template <class P> P *y_row(P *y, int64_t y_batch, int64_t y_step, int64_t row, int64_t step) const {
    return y + group.order[row] * y_batch + step * y_step + direction * size(p.h);
  }
  int64_t block_end(int64_t from) const {
    int64_t t = from + 1;
    while (t < group.steps && group.offset[t + 1] - group.offset[from] <= all.block_rows) ++t;
    return t;
  }
  int64_t block_start(int64_t to) const {
    int64_t t = to - 1;
    while (t > 0 && group.offset[to] - group.offset[t - 1] <= all.block_rows) --t;
    return t;
  }
  int64_t rows_between(int64_t from, int64_t to) const { return group.offset[to] - group.offset[from]; }

  /* First row of a view at step t, in arrays whose first step is `from`. */
  Rows<T> rows_at(T *array, const View &v, int64_t t, int64_t from) const {
    const Slot &slot = p.slots[v.slot];
    const int64_t ahead = slot.state ? group.rows : 0, step = t - v.before;
    return {array + (step < from ? 0 : ahead + rows_between(from, step)) * slot.row + v.part * slot.part_row, slot.row};
  }
  Rows<T> value(const View &v, int64_t t) const {
    const bool in_reserve = v.slot != 0 && job.reserve;
    return rows_at(s.value[v.slot], v, t, in_reserve ? 0 : block);
  }
  static View whole(int slot) { return {slot, 0, 1, 0}; }

  void gather_x(int64_t from, int64_t to) const {
    const T *x = static_cast<const T *>(layer.x);
    for (int64_t t = from; t < to; ++t) {
      const Rows<T> rows = value(whole(0), t);
      for (int64_t r = 0; r < group.active[t]; ++r)
        copy_padded(rows.at + r * rows.row, x + group.order[r] * layer.x_batch + place(r, t) * layer.x_step, layer.input_size, rows.row);
    }
  }
  static void copy_padded(T *to, const T *from, int64_t n, int64_t stride) {
    if (n) std::memcpy(to, from, size_t(n) * sizeof(T));
    std::memset(to + n, 0, size_t(stride - n) * sizeof(T));
  }
  void load_state(T *to, const void *states, int slot, int64_t row) const {
    copy_padded(to, states ? state_row(static_cast<const T *>(states), slot, row) : nullptr, states ? size(slot) : 0, p.slots[slot].row);
  }
  void store_state(void *states, const T *from, int slot, int64_t row) const {
    std::memcpy(state_row(static_cast<T *>(states), slot, row), from, size_t(size(slot)) * sizeof(T));
  }
  /* The operands of a piece, a part each. */
  template <class Get> static void operands(const Instruction &i, Rows<T> *to, const Program &p, Get get) {
    for (int v = 0; v < i.view_count; ++v)
      for (int part = 0; part < i.views[v].parts; ++part) {
        *to = get(i.views[v]);
        to++->at += part * p.slots[i.views[v].slot].part_row;
      }
  }

  GenericJob &all;
  const Job &job;
  const Program &p;
  const tg_layer &layer;
  const Group &group;
  const int direction;
  const Prepared *const prepared;
  GenericScratch<T> s;
  int64_t block = 0; /* first step of the block of time */
};

template <class T> class GenericForward : Walk<T> {
  using Base = Walk<T>;
  using Base::all, Base::block, Base::direction, Base::group, Base::job, Base::layer, Base::p, Base::prepared, Base::s, Base::size;

 public:
  GenericForward(GenericJob *job, int team) : Base(job, team, false) {}

  void run() {
    load_states();
    for (int64_t first = 0; first < group.steps;) {
      const int64_t last = this->block_end(first);
      open_block(first);
      this->gather_x(first, last);
      for (int k = 0; k < p.over_time; ++k) execute(k, first, this->rows_between(first, last));
      for (int64_t t = first; t < last; ++t) {
        for (int k = p.over_time; k < p.count; ++k) execute(k, t, group.active[t]);
        give_out(t);
      }
      first = last;
    }
  }

 private:
  void load_states() {
    for (int64_t r = 0; r < group.rows; ++r) {
      load_state(p.h, layer.h0, job.out.hn, r);
      if (p.c >= 0) load_state(p.c, layer.c0, job.out.cn, r);
      for (int64_t t = this->length(r); t < layer.steps; ++t)
        std::memset(this->y_row(static_cast<T *>(job.out.y), job.out.y_batch, job.out.y_step, r, t), 0, size_t(size(p.h)) * sizeof(T));
    }
  }
  void load_state(int slot, const void *from, void *final_states, int64_t row) {
    T *to = s.value[slot] + row * p.slots[slot].row;
    Base::load_state(to, from, slot, row);
    if (!this->length(row)) this->store_state(final_states, to, slot, row);
  }

  /* Without a reserve the states of the step before move to the head of the block's arrays. */
  void open_block(int64_t first) {
    for (int slot : {p.h, p.c})
      if (first && slot >= 0 && !job.reserve) {
        const Rows<T> from = this->value(this->whole(slot), first - 1);
        std::memmove(s.value[slot], from.at, size_t(group.active[first] * from.row) * sizeof(T));
      }
    block = first;
  }

  void execute(int k, int64_t t, int64_t rows) {
    const Instruction &i = p.list[k];
    const Rows<T> in = this->value(i.views[0], t), out = this->value(i.views[1], t);
    if (i.op == tg::op_product) return product(i, prepared[k], in, out, rows);
    if (i.op == tg::op_norm) return norm(i, prepared[k], in, out, this->value(i.views[2], t), rows);
    Rows<T> v[tg::most_views];
    Base::operands(i, v, p, [&](const View &view) { return this->value(view, t); });
    with_piece(i.op, [&](auto piece) { piece_forward<T, decltype(piece)>(v, rows, p.slots[i.views[0].slot].part_row); });
  }

  void product(const Instruction &i, const Prepared &w, Rows<T> in, Rows<T> out, int64_t rows) const {
    const int64_t n = size(i.views[0].slot);
    const Panels panels(i.views[1].parts * p.slots[i.views[1].slot].part_row / lanes<T>);
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t at = panels.first(panel) * lanes<T>;
      const int width = panels.width(panel);
      panel_product(Tile<T>{in.at, in.row, 1, 0, static_cast<const T *>(w.forward) + at * n, width * lanes<T>,
                            i.adds ? out.at + at : static_cast<const T *>(w.start) + at, i.adds ? out.row : 0, out.at + at, out.row, 1, n},
                    rows, width);
    }
  }

  void norm(const Instruction &i, const Prepared &w, Rows<T> in, Rows<T> out, Rows<T> stats, int64_t rows) const {
    const Slot &slot = p.slots[i.views[0].slot];
    const int parts = i.views[0].parts;
    const T *gain = static_cast<const T *>(w.forward), *shift = static_cast<const T *>(w.start), count = T(parts * slot.size);
    for (int64_t r = 0; r < rows; ++r) {
      const T *x = in.at + r * in.row;
      T *y = out.at + r * out.row, *stat = stats.at + r * stats.row;
      const T mean = sum_over<T>(slot, parts, [&](int64_t k) { return load(x + k); }) / count;
      const T squares = sum_over<T>(slot, parts, [&](int64_t k) {
        const V<T> centred = load(x + k) - all_of(mean);
        return centred * centred;
      });
      const T scale = T(1) / std::sqrt(squares / count + T(all.eps));
      stat[0] = mean;
      stat[1] = scale;
      for (int64_t k = 0; k < parts * slot.part_row; k += lanes<T>) {
        const V<T> start = i.adds ? load(y + k) + load(shift + k) : load(shift + k);
        store(y + k, fma((load(x + k) - all_of(mean)) * all_of(scale), load(gain + k), start));
      }
    }
  }
  static V<T> all_of(T value) { return V<T>{} + value; }

  /* y of the step; final states of the rows that end with it. */
  void give_out(int64_t t) const {
    const Rows<T> h = this->value(this->whole(p.h), t);
    for (int64_t r = 0; r < group.active[t]; ++r)
      std::memcpy(this->y_row(static_cast<T *>(job.out.y), job.out.y_batch, job.out.y_step, r, this->place(r, t)), h.at + r * h.row,
                  size_t(size(p.h)) * sizeof(T));
    for (int64_t r = group.active[t + 1]; r < group.active[t]; ++r) {
      this->store_state(job.out.hn, h.at + r * h.row, p.h, r);
      if (p.c < 0) continue;
      const Rows<T> c = this->value(this->whole(p.c), t);
      this->store_state(job.out.cn, c.at + r * c.row, p.c, r);
    }
  }
};

template <class T> class GenericBackward : Walk<T> {
  using Base = Walk<T>;
  using Base::block, Base::direction, Base::group, Base::job, Base::layer, Base::p, Base::prepared, Base::s, Base::size;

 public:
  GenericBackward(GenericJob *job, int team) : Base(job, team, true), io(job->job.grad) {}

  void run() {
    clear_sums();
    for (int64_t last = group.steps; last > 0; last = block) {
      open_block(this->block_start(last), last);
      for (int64_t t = last - 1; t >= block; --t) {
        receive(t);
        for (int k = p.count - 1; k >= p.over_time; --k) execute(k, t, group.active[t]);
      }
      for (int k = p.over_time - 1; k >= 0; --k) execute(k, block, this->rows_between(block, last));
      close_block(last);
    }
    store_states();
  }

 private:
  Rows<T> d_of(const View &v, int64_t t) const { return this->rows_at(s.d[v.slot], v, t, block); }

  void open_block(int64_t first, int64_t last) {
    block = first;
    this->gather_x(first, last);
    const int64_t rows = this->rows_between(first, last);
    for (int k = 0; k < p.slot_count; ++k)
      std::memset(s.d[k], 0, size_t((rows + (p.slots[k].state ? group.rows : 0)) * p.slots[k].row) * sizeof(T));
    for (int part = 0; part < 2; ++part)
      if (const int slot = part ? p.c : p.h; slot >= 0 && last < group.steps) {
        const Rows<T> to = d_of(this->whole(slot), last - 1);
        std::memcpy(to.at, s.carried[part], size_t(group.active[last] * to.row) * sizeof(T));
      }
  }

  /* Gradients that reach the states of step t from outside: of the final states where a row ends, and of y. */
  void receive(int64_t t) {
    for (int part = 0; part < 2; ++part)
      if (const int slot = part ? p.c : p.h; slot >= 0) {
        const Rows<T> d = d_of(this->whole(slot), t);
        for (int64_t r = group.active[t + 1]; r < group.active[t]; ++r) this->load_state(d.at + r * d.row, part ? io.dcn : io.dhn, slot, r);
      }
    if (!io.dy) return;
    const Rows<T> d = d_of(this->whole(p.h), t);
    for (int64_t r = 0; r < group.active[t]; ++r) {
      const T *dy = this->y_row(static_cast<const T *>(io.dy), io.dy_batch, io.dy_step, r, this->place(r, t));
      for (int64_t k = 0; k < size(p.h); ++k) d.at[r * d.row + k] += dy[k];
    }
  }

  void execute(int k, int64_t t, int64_t rows) {
    const Instruction &i = p.list[k];
    if (i.op == tg::op_product) {
      if (i.views[0].slot || io.dx) product(i, prepared[k], d_of(i.views[0], t), d_of(i.views[1], t), rows);
      return;
    }
    if (i.op == tg::op_norm) return norm(k, t, rows);
    Rows<T> v[tg::most_views], d[tg::most_views];
    Base::operands(i, v, p, [&](const View &view) { return this->value(view, t); });
    Base::operands(i, d, p, [&](const View &view) { return d_of(view, t); });
    with_piece(i.op, [&](auto piece) { piece_backward<T, decltype(piece)>(v, d, rows, p.slots[i.views[0].slot].part_row); });
  }

  /* d in += d out W. Padded units, which may hold NaN beside an infinite x, are left out. */
  void product(const Instruction &i, const Prepared &w, Rows<T> in, Rows<T> out, int64_t rows) const {
    const Slot &from = p.slots[i.views[0].slot], &to = p.slots[i.views[1].slot];
    const Panels panels(from.part_row / lanes<T>);
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t at = panels.first(panel) * lanes<T>;
      const int width = panels.width(panel);
      panel_product(Tile<T>{out.at, out.row, 1, to.part_row, static_cast<const T *>(w.backward) + at * i.views[1].parts * to.size,
                            width * lanes<T>, in.at + at, in.row, in.at + at, in.row, i.views[1].parts, to.size},
                    rows, width);
    }
  }

  /* With x^ = (x - mean) scale, e = d gain and e^ = e - mean of e: d in += scale (e^ - x^ mean of e^ x^); d gain = sum d x^,
   * d shift = sum d. */
  void norm(int k, int64_t t, int64_t rows) const {
    const Instruction &i = p.list[k];
    const Slot &slot = p.slots[i.views[0].slot];
    const int parts = i.views[0].parts;
    const Rows<T> in = this->value(i.views[0], t), stats = this->value(i.views[2], t), din = d_of(i.views[0], t), dout = d_of(i.views[1], t);
    const T *gain = static_cast<const T *>(prepared[k].forward), count = T(parts * slot.size);
    for (int64_t r = 0; r < rows; ++r) {
      const T *x = in.at + r * in.row, *d = dout.at + r * dout.row;
      T *dx = din.at + r * din.row;
      const V<T> mean = V<T>{} + stats.at[r * stats.row], scale = V<T>{} + stats.at[r * stats.row + 1];
      const auto unit = [&](int64_t j) { return (load(x + j) - mean) * scale; };
      const auto e = [&](int64_t j) { return load(d + j) * load(gain + j); };
      const V<T> e_mean = V<T>{} + sum_over<T>(slot, parts, e) / count;
      const V<T> ex_mean = V<T>{} + sum_over<T>(slot, parts, [&](int64_t j) { return (e(j) - e_mean) * unit(j); }) / count;
      for (int64_t j = 0; j < parts * slot.part_row; j += lanes<T>) {
        const V<T> u = unit(j);
        store(dx + j, fma(e(j) - e_mean - u * ex_mean, scale, load(dx + j)));
        store(s.sums[k] + j, fma(load(d + j), u, load(s.sums[k] + j)));
        store(s.more[k] + j, load(s.more[k] + j) + load(d + j));
      }
    }
  }

  void close_block(int64_t last) {
    const int64_t rows = this->rows_between(block, last);
    for (int k = 0; k < p.count; ++k)
      if (p.list[k].op == tg::op_product) weight_sums(k, last, rows);
    for (int part = 0; part < 2; ++part)
      if (const int slot = part ? p.c : p.h; slot >= 0)
        std::memcpy(s.carried[part], s.d[slot], size_t(group.active[block] * p.slots[slot].row) * sizeof(T));
    for (int64_t t = block; t < last && io.dx; ++t) {
      const Rows<T> d = d_of(this->whole(0), t);
      for (int64_t r = 0; r < group.active[t]; ++r)
        std::memcpy(dx_row(r, this->place(r, t)), d.at + r * d.row, size_t(layer.input_size) * sizeof(T));
    }
  }

  /* sums [out, in] += d out^T in, and the start's the sum of d out, over the block. */
  void weight_sums(int k, int64_t last, int64_t rows) const {
    const Instruction &i = p.list[k];
    const Slot &to = p.slots[i.views[1].slot];
    const int64_t stride = p.slots[i.views[0].slot].part_row;
    const Rows<T> in = i.views[0].before ? gather(i.views[0], last) : this->value(i.views[0], block), d = d_of(i.views[1], block);
    const Panels panels(stride / lanes<T>);
    for (int part = 0; part < i.views[1].parts; ++part)
      for (int64_t panel = 0; panel < panels.count; ++panel) {
        const int64_t at = panels.first(panel) * lanes<T>;
        T *sums = s.sums[k] + part * to.size * stride + at;
        panel_product(Tile<T>{d.at + part * to.part_row, 1, d.row, 0, in.at + at, in.row, sums, stride, sums, stride, 1, rows}, to.size,
                      panels.width(panel));
      }
    for (int64_t j = 0; j < i.views[1].parts * to.part_row && i.bias[0] != tg::no_param; j += lanes<T>) {
      V<T> sum = load(s.more[k] + j);
      for (int64_t r = 0; r < rows; ++r) sum = sum + load(d.at + r * d.row + j);
      store(s.more[k] + j, sum);
    }
  }
  /* A state as it was before each step of the block: where rows end, what a step needs does not stand side by side. */
  Rows<T> gather(const View &view, int64_t last) const {
    T *to = s.gathered;
    const int64_t row = p.slots[view.slot].row;
    for (int64_t t = block; t < last; ++t) {
      std::memcpy(to, this->value(view, t).at, size_t(group.active[t] * row) * sizeof(T));
      to += group.active[t] * row;
    }
    return {s.gathered, row};
  }

  /* Both directions write dx: the backward one beside it, to be added at the end. */
  T *dx_row(int64_t row, int64_t step) const {
    if (direction) return static_cast<T *>(job.dx_other) + (group.order[row] * layer.steps + step) * layer.input_size;
    return static_cast<T *>(io.dx) + group.order[row] * io.dx_batch + step * io.dx_step;
  }

  void store_states() {
    for (int64_t r = 0; r < group.rows; ++r) {
      store_initial(io.dh0, io.dhn, p.h, s.carried[0], r);
      store_initial(io.dc0, io.dcn, p.c, s.carried[1], r);
      for (int64_t t = this->length(r); t < layer.steps && io.dx; ++t) std::memset(dx_row(r, t), 0, size_t(layer.input_size) * sizeof(T));
    }
  }
  void store_initial(void *to, const void *final_states, int slot, T *carried, int64_t row) const {
    if (!to || slot < 0) return;
    T *from = carried + row * p.slots[slot].row;
    if (!this->length(row)) this->load_state(from, final_states, slot, row);
    this->store_state(to, from, slot, row);
  }

  void clear_sums() {
    for (int k = 0; k < p.count; ++k) {
      const Instruction &i = p.list[k];
      if (i.op > tg::op_norm) continue;
      const Slot &slot = p.slots[i.views[1].slot];
      const int64_t starts = i.views[1].parts * slot.part_row;
      const int64_t sums = i.op == tg::op_norm ? starts : i.views[1].parts * slot.size * p.slots[i.views[0].slot].part_row;
      std::memset(s.sums[k], 0, size_t(sums) * sizeof(T));
      std::memset(s.more[k], 0, size_t(starts) * sizeof(T));
    }
  }

  const tg_gradients &io;
};

}  // namespace
#endif
