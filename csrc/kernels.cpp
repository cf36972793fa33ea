/* One build of the kernels; compiled once for each instruction set with TG_ISA_NAME. In: jobs. Out: tg::Kernels. */
#include "backward.h"
#include "forward.h"
#include "generic.h"
#include "pack.h"
#include "primitives.h"

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

/* The teams of one thread: its own, or every `threads`-th where teams are single threads. */
template <class F> void each_team(const Job &job, int rank, F f) {
  if (job.team_size > 1) f(rank / job.team_size, rank % job.team_size);
  else
    for (int team = rank; team < job.team_count; team += job.threads) f(team, 0);
}

void pack(Job *job, int rank) {
  with_types(job->layer, [&](auto number, auto cell) {
    for (int d = 0; d < job->layer.directions; ++d) Packing<decltype(number), decltype(cell)>(*job, d, rank).forward();
  });
}

void forward(Job *job, int rank) {
  const FlushDenormals mode;
  with_types(job->layer, [&](auto number, auto cell) {
    using T = decltype(number);
    using C = decltype(cell);
    if (!job->packed) pack(job, rank);
    tg::meet(&job->everyone, job->threads);
    each_team(*job, rank, [&](int team, int in_team) { Forward<T, C>(job, team, in_team).run(); });
  });
}

template <class T> void add_other_dx(const Job &job, int rank) {
  const tg_layer &l = job.layer;
  const Range rows = share(l.batch * l.steps, rank, job.threads);
  for (int64_t k = rows.first; k < rows.last; ++k) {
    T *to = static_cast<T *>(job.grad.dx) + k / l.steps * job.grad.dx_batch + k % l.steps * job.grad.dx_step;
    const T *from = static_cast<const T *>(job.dx_other) + k * l.input_size;
    for (int64_t i = 0; i < l.input_size; ++i) to[i] += from[i];
  }
}

void backward(Job *job, int rank) {
  const FlushDenormals mode;
  with_types(job->layer, [&](auto number, auto cell) {
    using T = decltype(number);
    using C = decltype(cell);
    for (int d = 0; d < job->layer.directions; ++d) {
      const Packing<T, C> packing(*job, d, rank);
      packing.forward();
      packing.backward();
    }
    tg::meet(&job->everyone, job->threads);
    each_team(*job, rank, [&](int team, int in_team) { Backward<T, C>(job, team, in_team).run(); });
    tg::meet(&job->everyone, job->threads);
    for (int d = 0; d < job->layer.directions; ++d) Packing<T, C>(*job, d, rank).gradients();
    if (job->dx_other && job->grad.dx) add_other_dx<T>(*job, rank);
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

void generic_forward(GenericJob *job, int rank) {
  const FlushDenormals mode;
  with_number(job->job.layer, [&](auto number) {
    using T = decltype(number);
    for (int d = 0; d < job->job.layer.directions; ++d) GenericPacking<T>(*job, d, rank).lay_out(false);
    tg::meet(&job->job.everyone, job->job.threads);
    for (int team = rank; team < job->job.team_count; team += job->job.threads) GenericForward<T>(job, team).run();
  });
}

void generic_backward(GenericJob *job, int rank) {
  const FlushDenormals mode;
  with_number(job->job.layer, [&](auto number) {
    using T = decltype(number);
    for (int d = 0; d < job->job.layer.directions; ++d) GenericPacking<T>(*job, d, rank).lay_out(true);
    tg::meet(&job->job.everyone, job->job.threads);
    for (int team = rank; team < job->job.team_count; team += job->job.threads) GenericBackward<T>(job, team).run();
    tg::meet(&job->job.everyone, job->job.threads);
    for (int d = 0; d < job->job.layer.directions; ++d) GenericPacking<T>(*job, d, rank).gradients();
    if (job->job.dx_other) add_other_dx<T>(job->job, rank);
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
    pack_linear, linear, softmax, norm, pool, apply, peak, generic_forward, generic_backward, generic_scratch_bytes};
}  // namespace tg
