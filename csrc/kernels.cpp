/* One build of the kernels; compiled once for each instruction set with TG_ISA_NAME. In: jobs. Out: tg::Kernels. */
#include "backward.h"
#include "forward.h"
#include "generic.h"
#include "int8.h"
#include "pack.h"
#include "primitives.h"
#include "step.h"
#include "crf.h"

namespace {

/* Calls f with the number type and the cell of the layer. */
template <class T, class F> void with_cell(int cell, F f) {
  switch (cell) {
    case TG_RNN_TANH: return f(T(), Cell<TG_RNN_TANH>());
    case TG_RNN_RELU: return f(T(), Cell<TG_RNN_RELU>());
    case TG_LSTM: return f(T(), Cell<TG_LSTM>());
    default: return f(T(), Cell<TG_GRU>());
  }
}
template <class F> void with_types(const tg_layer &layer, F f) {
  if (layer.dtype == TG_F32) with_cell<float>(layer.cell, f);
  else with_cell<double>(layer.cell, f);
}

/* Every team once: with all its threads, or, where teams are single threads, on whichever thread is free. */
template <class F> void each_team(Job *job, int rank, F f) {
  if (job->team_size == 1) return tg::in_pieces(&job->teams, job->team_count, [&](int team) { f(team, 0); });
  f(rank / job->team_size, rank % job->team_size);
  __atomic_add_fetch(&job->teams.done, 1, __ATOMIC_RELEASE);
  for (int spins = 0; __atomic_load_n(&job->teams.done, __ATOMIC_ACQUIRE) < job->threads; ++spins) tg::rest(spins);
}

/* f(direction, piece) for `threads` pieces of every direction's weights. */
template <class F> void each_piece(Job *job, tg::Phase *phase, F f) {
  tg::in_pieces(phase, job->threads, [&](int piece) {
    for (int d = 0; d < job->layer.directions; ++d) f(d, piece);
  });
}

void pack(Job *job) {
  with_types(job->layer, [&](auto number, auto cell) {
    each_piece(job, &job->packing, [&](int d, int piece) { Packing<decltype(number), decltype(cell)>(*job, d, piece).forward(); });
  });
}

void forward(Job *job, int rank) {
  const FlushDenormals mode;
  with_types(job->layer, [&](auto number, auto cell) {
    using T = decltype(number);
    using C = decltype(cell);
    if (!job->packed) pack(job);
    each_team(job, rank, [&](int team, int in_team) { Forward<T, C>(job, team, in_team).run(); });
  });
}

template <class T> void add_other_dx(const Job &job, int rank) {
  const tg_layer &l = job.layer;
  const Range rows = share(job.starts ? job.total : l.batch * l.steps, rank, job.threads);
  for (int64_t k = rows.first; k < rows.last; ++k) {
    T *to = static_cast<T *>(job.grad.dx);
    to += job.starts ? k * job.grad.dx_batch : k / l.steps * job.grad.dx_batch + k % l.steps * job.grad.dx_step;
    const T *from = static_cast<const T *>(job.dx_other) + k * l.input_size;
    for (int64_t i = 0; i < l.input_size; ++i) to[i] += from[i];
  }
}

void backward(Job *job, int rank) {
  const FlushDenormals mode;
  with_types(job->layer, [&](auto number, auto cell) {
    using T = decltype(number);
    using C = decltype(cell);
    each_piece(job, &job->packing, [&](int d, int piece) {
      const Packing<T, C> packing(*job, d, piece);
      packing.forward();
      packing.backward();
    });
    each_team(job, rank, [&](int team, int in_team) { Backward<T, C>(job, team, in_team).run(); });
    each_piece(job, &job->sums, [&](int d, int piece) {
      Packing<T, C>(*job, d, piece).gradients();
      if (d == 0 && job->dx_other && job->grad.dx) add_other_dx<T>(*job, piece);
    });
  });
}

int64_t scratch_bytes(const Job &job, const Group &group, bool backward) {
  int64_t bytes = 0;
  with_types(job.layer, [&](auto number, auto) {
    Arena arena = {nullptr, 0};
    Scratch<decltype(number)>::lay_out(&arena, job, group, backward);
    bytes = arena.used;
  });
  return bytes;
}

template <class F> void with_number(const tg_layer &layer, F f) {
  if (layer.dtype == TG_F32) f(float());
  else f(double());
}

void generic_forward(GenericJob *job, int) {
  const FlushDenormals mode;
  with_number(job->job.layer, [&](auto number) {
    using T = decltype(number);
    each_piece(&job->job, &job->job.packing, [&](int d, int piece) { GenericPacking<T>(*job, d, piece).lay_out(false); });
    tg::in_pieces(&job->job.teams, job->job.team_count, [&](int team) { GenericForward<T>(job, team).run(); });
  });
}

void generic_backward(GenericJob *job, int) {
  const FlushDenormals mode;
  with_number(job->job.layer, [&](auto number) {
    using T = decltype(number);
    each_piece(&job->job, &job->job.packing, [&](int d, int piece) { GenericPacking<T>(*job, d, piece).lay_out(true); });
    tg::in_pieces(&job->job.teams, job->job.team_count, [&](int team) { GenericBackward<T>(job, team).run(); });
    each_piece(&job->job, &job->job.sums, [&](int d, int piece) {
      GenericPacking<T>(*job, d, piece).gradients();
      if (d == 0 && job->job.dx_other) add_other_dx<T>(job->job, piece);
    });
  });
}

int64_t generic_scratch_bytes(const GenericJob &job, const Group &group, bool backward) {
  Arena arena = {nullptr, 0};
  with_number(job.job.layer, [&](auto number) { GenericScratch<decltype(number)>::lay_out(&arena, job, group, backward); });
  return arena.used;
}

template <class F> void with_step_types(int dtype, int cell, F f) {
  if (dtype == TG_F32) with_cell<float>(cell, f);
  else with_cell<double>(cell, f);
}

void step_sums(int dtype, const tg::StepLayer &layer, const void *x, void *to) {
  const FlushDenormals mode;
  with_step_types(dtype, layer.cell, [&](auto number, auto cell) {
    using T = decltype(number);
    Step<T, decltype(cell)>::sums_of_x(layer, static_cast<const T *>(x), static_cast<T *>(to));
  });
}

template <class T> void step_of(const tg::Stack &stack, const T *x, int64_t code, T *h, T *c, T *y, T *work) {
  const int64_t row = stack.layers[0].h_row, size = stack.layers[0].hidden_size;
  T *before = work, *c_padded = work + row, *after = work + 2 * row; /* one `after` a layer */
  const T *sums = nullptr;
  if (!x && stack.sums) sums = static_cast<const T *>(stack.sums) + code * stack.layers[0].kept_row;
  else if (!x) x = static_cast<const T *>(stack.vectors) + code * stack.embedding;
  for (int32_t k = 0; k < stack.count; ++k, after += row) {
    const tg::StepLayer &layer = stack.layers[k];
    T *own_h = h + k * size, *own_c = c ? c + k * size : nullptr;
    std::memcpy(before, own_h, size_t(size) * sizeof(T));
    std::memset(before + size, 0, size_t(row - size) * sizeof(T));
    if (own_c && row != size) {
      std::memcpy(c_padded, own_c, size_t(size) * sizeof(T));
      std::memset(c_padded + size, 0, size_t(row - size) * sizeof(T));
    }
    T *stepped_c = row == size ? own_c : c_padded;
    with_cell<T>(layer.cell, [&](auto, auto cell) {
      Step<T, decltype(cell)>::run(layer, sums ? nullptr : x, sums ? sums : static_cast<const T *>(layer.weights.start), before, after, stepped_c);
    });
    std::memcpy(own_h, after, size_t(size) * sizeof(T));
    if (own_c && row != size) std::memcpy(own_c, c_padded, size_t(size) * sizeof(T));
    x = after;
    sums = nullptr;
  }
  if (stack.linear) linear_of<T>(1, stack.outputs, size, x, size, static_cast<const T *>(stack.linear), y, stack.outputs);
  else std::memcpy(y, x, size_t(size) * sizeof(T));
}

void step(const tg::Stack &stack, const void *x, int64_t code, void *h, void *c, void *y, void *work) {
  const FlushDenormals mode;
  if (stack.dtype == TG_F32)
    step_of(stack, static_cast<const float *>(x), code, static_cast<float *>(h), static_cast<float *>(c), static_cast<float *>(y), static_cast<float *>(work));
  else
    step_of(stack, static_cast<const double *>(x), code, static_cast<double *>(h), static_cast<double *>(c), static_cast<double *>(y), static_cast<double *>(work));
}

double peak(int64_t rounds) {
  constexpr int chains = registers == 32 ? 24 : 12;
  V<float> sum[chains];
  V<float> x = all(0.999f), y = all(0.001f);
  __asm__ __volatile__("" : "+m"(x), "+m"(y));
  for (auto &s : sum) s = y;
  for (int64_t k = 0; k < rounds; ++k)
#pragma GCC unroll 24
    for (int j = 0; j < chains; ++j) sum[j] = fma(sum[j], x, y);
  for (auto &s : sum) __asm__ __volatile__("" ::"m"(s));
  return 2.0 * chains * lanes<float> * double(rounds);
}

}  // namespace

#define TG_JOIN(a, b) a##b
#define TG_NAME(a, b) TG_JOIN(a, b)
#define TG_TEXT(a) #a
#define TG_STRING(a) TG_TEXT(a)

namespace tg {
extern const Kernels TG_NAME(kernels_, TG_ISA_NAME);
const Kernels TG_NAME(kernels_, TG_ISA_NAME) = {
    TG_STRING(TG_ISA_NAME), {lanes<float>, lanes<double>}, forward, backward, pack, scratch_bytes,
    pack_linear, linear, softmax, norm, pool, weigh, apply, crf, step, step_sums, peak, generic_forward, generic_backward, generic_scratch_bytes,
    pack8, work8, linear_work8, forward8, linear8};
}  // namespace tg
