/* One build of the kernels; compiled once for each instruction set with TG_ISA_NAME. In: jobs. Out: tg::Kernels. */
#include "backward.h"
#include "forward.h"
#include "generic.h"
#include "pack.h"
#include "primitives.h"
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
    pack_linear, linear, softmax, norm, pool, weigh, apply, crf, peak, generic_forward, generic_backward, generic_scratch_bytes};
}  // namespace tg
