/* The generic loop's memory: a group's arrays, parameters in the order of a program, and their gradients back. In: a GenericJob. */
#ifndef TIDEGATE_GENERIC_PACK_H
#define TIDEGATE_GENERIC_PACK_H

#include <initializer_list>

#include "team.h"

namespace {

using tg::GenericJob;
using tg::Instruction;
using tg::Prepared;
using tg::Program;
using tg::Slot;
using tg::View;

/* Arrays of one group in one direction. A slot's rows of a block of time stand side by side; a state's follow the rows that it had
 * before the block. */
template <class T> struct GenericScratch {
  T *value[tg::most_slots], *d[tg::most_slots];
  T *carried[2];                 /* [rows, row] gradients of h and c on their way to the block before */
  T *gathered;                   /* [R, row] a state before each step of the block */
  T *sums[tg::most_instructions], *more[tg::most_instructions]; /* gradients: weight and start, or gain and shift */

  static GenericScratch lay_out(Arena *arena, const GenericJob &job, const Group &group, bool backward) {
    const Program &p = job.program;
    const int64_t n = group.rows, r = job.block_rows > n ? job.block_rows : n;
    GenericScratch s = {};
    int64_t widest = 0;
    for (int k = 0; k < p.slot_count; ++k) {
      const Slot &slot = p.slots[k];
      const int64_t count = (r + (slot.state ? n : 0)) * slot.row;
      if (k == 0 || !(backward || job.job.keep)) s.value[k] = arena->take<T>(count);
      if (backward) s.d[k] = arena->take<T>(count);
      if (slot.state && slot.row > widest) widest = slot.row;
    }
    if (!backward) return s;
    s.carried[0] = arena->take<T>(n * p.slots[p.h].row);
    s.carried[1] = p.c < 0 ? nullptr : arena->take<T>(n * p.slots[p.c].row);
    s.gathered = arena->take<T>(r * widest);
    for (int k = 0; k < p.count; ++k) {
      const View &in = p.list[k].views[0], &out = p.list[k].views[1];
      if (p.list[k].op > tg::op_norm) continue;
      const Slot &slot = p.slots[out.slot];
      s.sums[k] = arena->take<T>(p.list[k].op == tg::op_norm ? out.parts * slot.part_row : out.parts * slot.size * p.slots[in.slot].part_row);
      s.more[k] = arena->take<T>(out.parts * slot.part_row);
    }
    return s;
  }
};

/* Parameters into the order of the instructions, and their gradients back. */
template <class T> class GenericPacking {
 public:
  GenericPacking(const GenericJob &job_, int direction_, int rank_) : job(job_), p(job_.program), direction(direction_), rank(rank_) {}

  void lay_out(bool backward) const {
    for (int k = 0; k < p.count; ++k) {
      const Instruction &i = p.list[k];
      const Prepared &to = job.prepared[direction][k];
      if (i.op == tg::op_norm && rank == 0) {
        vector_of(static_cast<T *>(to.forward), i, {i.gain}, T(1));
        vector_of(static_cast<T *>(to.start), i, {i.shift}, T(0));
      }
      if (i.op != tg::op_product) continue;
      if (backward) columns(static_cast<T *>(to.backward), i);
      else products(static_cast<T *>(to.forward), i);
      if (!backward && rank == 0) vector_of(static_cast<T *>(to.start), i, {i.bias[0], i.bias[1]}, T(0));
    }
  }

  /* Sums over the groups of rows. Each row of a parameter belongs to one instruction. */
  void gradients() const {
    for (int k = 0; k < p.count; ++k) {
      const Instruction &i = p.list[k];
      const Slot &slot = p.slots[i.views[1].slot];
      if (i.op == tg::op_product) {
        const Slot &in = p.slots[i.views[0].slot];
        const Range own = share(i.views[1].parts * slot.size, rank, job.job.threads);
        if (T *to = gradient(i.weight))
          for (int64_t row = own.first; row < own.last; ++row)
            sum_rows(to + (i.row + row) * in.size, in.size, [&](const GenericScratch<T> &s) { return s.sums[k] + row * in.part_row; });
      }
      if (rank || i.op > tg::op_norm) continue;
      for (int part = 0; part < i.views[1].parts; ++part) {
        const int64_t at = i.row + part * slot.size, from = part * slot.part_row;
        for (tg::Param bias : {i.bias[0], i.bias[1], i.shift})
          if (T *to = gradient(bias)) sum_rows(to + at, slot.size, [&](const GenericScratch<T> &s) { return s.more[k] + from; });
        if (T *to = gradient(i.gain)) sum_rows(to + at, slot.size, [&](const GenericScratch<T> &s) { return s.sums[k] + from; });
      }
    }
  }

 private:
  const T *parameter(tg::Param which) const {
    return which == tg::no_param ? nullptr : static_cast<const T *>(job.params[which][direction]);
  }
  T *gradient(tg::Param which) const { return which == tg::no_param ? nullptr : static_cast<T *>(job.dparams[which][direction]); }

  /* The sum of some parameters, padded part by part; a missing one counts as `otherwise`. */
  void vector_of(T *to, const Instruction &i, std::initializer_list<tg::Param> which, T otherwise) const {
    const Slot &slot = p.slots[i.views[1].slot];
    for (int part = 0; part < i.views[1].parts; ++part)
      for (int64_t k = 0; k < slot.part_row; ++k) {
        T sum = 0;
        for (tg::Param name : which)
          if (k < slot.size) sum += parameter(name) ? parameter(name)[i.row + part * slot.size + k] : otherwise;
        to[part * slot.part_row + k] = sum;
      }
  }

  /* [panel][k][width * lanes] from rows of w [., n]. */
  void products(T *panels_to, const Instruction &i) const {
    const Slot &out = p.slots[i.views[1].slot];
    const int64_t n = p.slots[i.views[0].slot].size, blocks = out.part_row / lanes<T>;
    const Panels panels(i.views[1].parts * blocks);
    const Range own = share(panels.count, rank, job.job.threads);
    for (int64_t panel = own.first; panel < own.last; ++panel)
      for (int v = 0; v < panels.width(panel); ++v) {
        const int64_t vector = panels.first(panel) + v, unit = vector % blocks * lanes<T>, row = panels.width(panel) * lanes<T>;
        const T *w = parameter(i.weight) + (i.row + vector / blocks * out.size + unit) * n, *from[lanes<T>];
        for (int lane = 0; lane < lanes<T>; ++lane) from[lane] = unit + lane < out.size ? w + lane * n : nullptr;
        lay_out_columns(panels_to + panels.first(panel) * lanes<T> * n + v * lanes<T>, row, from, n);
      }
  }

  /* [panel of columns][row of w][width * lanes]. */
  void columns(T *panels_to, const Instruction &i) const {
    const Slot &in = p.slots[i.views[0].slot];
    const int64_t rows = i.views[1].parts * p.slots[i.views[1].slot].size;
    const Panels panels(in.part_row / lanes<T>);
    const Range own = share(rows, rank, job.job.threads);
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t at = panels.first(panel) * lanes<T>, width = panels.width(panel) * lanes<T>, real = in.size - at < width ? in.size - at : width;
      for (int64_t k = own.first; k < own.last; ++k) {
        T *to = panels_to + at * rows + k * width;
        std::memcpy(to, parameter(i.weight) + (i.row + k) * in.size + at, size_t(real) * sizeof(T));
        std::memset(to + real, 0, size_t(width - real) * sizeof(T));
      }
    }
  }

  template <class Part> void sum_rows(T *to, int64_t n, Part part) const {
    std::memset(to, 0, size_t(n) * sizeof(T));
    for (int g = 0; g < job.job.group_count; ++g) {
      Arena arena = {job.job.scratch[direction * job.job.group_count + g], 0};
      const T *from = part(GenericScratch<T>::lay_out(&arena, job, job.job.groups[g], true));
      for (int64_t j = 0; j < n; ++j) to[j] += from[j];
    }
  }

  const GenericJob &job;
  const Program &p;
  const int direction, rank;
};

}  // namespace
#endif
