/* The C interface: checks, plans, memory, the choice of a build. In: tidegate.h's structures. Out: jobs for the kernels. */
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "generic_program.h"
#include "plan.h"
#include "pool.h"

namespace tg {
#ifdef TG_HAVE_AVX512
extern const Kernels kernels_avx512;
#endif
#ifdef TG_HAVE_AVX2
extern const Kernels kernels_avx2;
#endif
#ifdef TG_HAVE_SSE2
extern const Kernels kernels_sse2;
#endif
#ifdef TG_HAVE_NEON
extern const Kernels kernels_neon;
#endif
#ifdef TG_HAVE_GENERIC
extern const Kernels kernels_generic;
#endif
}  // namespace tg

namespace {

using tg::Group;
using tg::Job;
using tg::Kernels;
using tg::Plan;

thread_local char message[256] = "";

template <class... Args> tg_status fail(tg_status status, const char *format, Args... args) {
  std::snprintf(message, sizeof message, format, args...);
  return status;
}

/* Builds that are here and that the processor can run, best first. */
std::vector<const Kernels *> runnable() {
  std::vector<const Kernels *> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
#ifdef TG_HAVE_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
    found.push_back(&tg::kernels_avx512);
#endif
#ifdef TG_HAVE_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&tg::kernels_avx2);
#endif
#endif
#ifdef TG_HAVE_SSE2
  found.push_back(&tg::kernels_sse2);
#endif
#ifdef TG_HAVE_NEON
  found.push_back(&tg::kernels_neon);
#endif
#ifdef TG_HAVE_GENERIC
  found.push_back(&tg::kernels_generic);
#endif
  return found;
}

std::mutex choosing;
const Kernels *chosen = nullptr;

const Kernels *by_name(const char *name) {
  for (const Kernels *k : runnable())
    if (!name || !*name || !std::strcmp(k->name, name)) return k;
  return nullptr;
}

const Kernels *kernels() {
  const std::lock_guard<std::mutex> lock(choosing);
  if (!chosen) {
    const char *wanted = std::getenv("TIDEGATE_ISA");
    chosen = by_name(wanted);
    if (!chosen) fail(TG_NO_ISA, "TIDEGATE_ISA: expected one of '%s', got '%s'", tg_isas(), wanted ? wanted : "");
  }
  return chosen;
}

/* Fresh memory in pages of 2 MiB where the system has them: touching the reserve of a long sequence 4 KiB at a time takes a tenth of
 * the forward pass. */
void wish_large_pages(void *data, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = uintptr_t(1) << 21;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + page - 1) & ~(page - 1), last = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(page - 1);
  if (first < last) madvise(reinterpret_cast<void *>(first), last - first, MADV_HUGEPAGE); /* advice: its failure changes nothing */
#else
  (void)data, (void)bytes;
#endif
}

/* Memory that calls borrow: what is given back is kept for the next call, up to a bound, since fresh pages cost more than a short
 * sequence. */
class Memory {
 public:
  explicit Memory(size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (auto &slot : kept_)
        if (slot.bytes >= bytes && (!at_.bytes || slot.bytes < at_.bytes)) std::swap(slot, at_);
    }
    if (at_.bytes >= bytes) return;
    const size_t rounded = (bytes + bytes / 8 + 4095) / 4096 * 4096;
    at_ = {static_cast<char *>(std::aligned_alloc(4096, rounded)), rounded};
    if (!at_.data) at_.bytes = 0;
    wish_large_pages(at_.data, at_.bytes);
  }
  ~Memory() {
    if (at_.bytes <= most_kept) {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (auto &slot : kept_)
        if (slot.bytes < at_.bytes) std::swap(slot, at_);
    }
    std::free(at_.data);
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  char *data() const { return at_.data; }

 private:
  struct Slot {
    char *data;
    size_t bytes;
  };
  static constexpr size_t most_kept = size_t(64) << 20;
  static std::mutex mutex_;
  static Slot kept_[4];
  Slot at_ = {nullptr, 0};
};
std::mutex Memory::mutex_;
Memory::Slot Memory::kept_[4] = {};

tg_status check(const tg_layer *l) {
  if (!l) return fail(TG_BAD_ARGUMENT, "layer: expected a structure, got NULL");
  if (l->cell < TG_RNN_TANH || l->cell > TG_GRU) return fail(TG_BAD_ARGUMENT, "cell: expected 0 to 3, got %d", l->cell);
  if (l->dtype != TG_F32 && l->dtype != TG_F64) return fail(TG_BAD_ARGUMENT, "dtype: expected 0 or 1, got %d", l->dtype);
  if (l->directions != 1 && l->directions != 2) return fail(TG_BAD_ARGUMENT, "directions: expected 1 or 2, got %d", l->directions);
  constexpr int64_t most = int64_t(1) << 40;
  for (int64_t size : {l->batch, l->steps, l->input_size, l->hidden_size})
    if (size < 0 || size > most) return fail(TG_BAD_ARGUMENT, "sizes: expected 0 to 2^40, got %lld", (long long)size);
  if (l->hidden_size < 1) return fail(TG_BAD_ARGUMENT, "hidden_size: expected at least 1, got 0");
  for (int64_t b = 0; l->lengths && b < l->batch; ++b)
    if (l->lengths[b] < 0 || l->lengths[b] > l->steps)
      return fail(TG_BAD_ARGUMENT, "lengths: expected 0 to %lld, got %lld in row %lld", (long long)l->steps, (long long)l->lengths[b],
                  (long long)b);
  if (l->batch_sizes && l->lengths) return fail(TG_BAD_ARGUMENT, "lengths: expected NULL beside batch_sizes, got an array%s", "");
  for (int64_t t = 0; l->batch_sizes && t < l->steps; ++t) {
    const int64_t most_here = t ? l->batch_sizes[t - 1] : l->batch;
    if (l->batch_sizes[t] < 1 || l->batch_sizes[t] > most_here || (t == 0 && l->batch_sizes[0] != l->batch))
      return fail(TG_BAD_ARGUMENT, "batch_sizes: expected %lld at step 0 and then never more than at the step before, nor less than 1, got %lld at step %lld",
                  (long long)l->batch, (long long)l->batch_sizes[t], (long long)t);
  }
  if (l->batch && l->steps && l->input_size && !l->x) return fail(TG_BAD_ARGUMENT, "x: expected an array, got NULL");
  if ((l->zone_h || l->zone_c) && l->zone_steps != 1 && l->zone_steps != l->steps)
    return fail(TG_BAD_ARGUMENT, "zone_steps: expected 1 or %lld, got %lld", (long long)l->steps, (long long)l->zone_steps);
  return TG_OK;
}

tg_status check_weights(const tg_layer &l) {
  for (int d = 0; d < l.directions; ++d)
    if ((!l.weight_ih[d] && l.input_size) || !l.weight_hh[d]) return fail(TG_BAD_ARGUMENT, "weights: expected two matrices a direction, got NULL");
  return TG_OK;
}

size_t number_bytes(const tg_layer &l) { return l.dtype == TG_F32 ? 4 : 8; }

/* First bytes of a reserve: who wrote it. */
struct Header {
  uint64_t magic;
  int32_t threads, lanes, cell, recompute;
  int64_t total;
};
constexpr uint64_t magic = 0x31657461676564ull;
constexpr size_t header_bytes = 64;

/* Bytes of the laid out weights of one direction; sets the pointers where memory is given. */
size_t lay_out_weights(tg::Weights *w, const Job &job, char *memory, bool forward, bool backward) {
  const tg::Layout &l = job.layout;
  size_t used = 0;
  const auto take = [&](void **part, int64_t count) {
    *part = memory ? memory + used : nullptr;
    used += size_t(tg::round_up(count * int64_t(number_bytes(job.layer))));
  };
  if (forward) {
    take(&w->x_panels, l.gate_rows * job.layer.input_size);
    take(&w->h_panels, l.gate_rows * job.layer.hidden_size);
    take(&w->start, l.kept_row);
  }
  if (backward) {
    take(&w->dh_panels, l.gate_rows * l.h_row);
    take(&w->dx_panels, l.gate_rows * l.x_vectors * l.lanes);
    if (!job.grad.dx) w->dx_panels = nullptr;
  }
  return used;
}

/* A packed batch as the plan knows it: lengths of rows; and where each step's rows start. */
struct Rows {
  std::vector<int64_t> lengths, starts;
  /* The layer with lengths. May throw bad_alloc. */
  tg_layer of(const tg_layer &layer) {
    tg_layer found = layer;
    if (!layer.batch_sizes) return found;
    int64_t row = layer.batch, start = 0;
    lengths.resize(size_t(layer.batch) + 1);
    starts.resize(size_t(layer.steps) + 1);
    for (int64_t t = 0; t < layer.steps; ++t) {
      starts[size_t(t)] = start;
      start += layer.batch_sizes[t];
      while (row > layer.batch_sizes[t]) lengths[size_t(--row)] = t;
    }
    while (row > 0) lengths[size_t(--row)] = layer.steps;
    found.lengths = lengths.data();
    return found;
  }
  const int64_t *packed() const { return starts.empty() ? nullptr : starts.data(); }
};

struct Call {
  Job *job;
  void (*body)(Job *, int);
};
void enter(void *data, int rank) {
  auto *call = static_cast<Call *>(data);
  call->body(call->job, rank);
}

/* Completes a job with memory and threads, and runs it. */
tg_status execute(Job *job, const Plan &plan, const Kernels &k, int wanted, bool backward) {
  job->layout = plan.layout;
  job->groups = plan.groups.data();
  job->group_count = int(plan.groups.size());
  job->team_count = job->group_count * job->layer.directions;
  job->total = plan.total;
  const bool forward_weights = !job->packed && (!backward || job->layer.recompute);
  std::vector<size_t> bytes;
  size_t all = 0;
  for (int team = 0; team < job->team_count; ++team) {
    bytes.push_back(all);
    all += size_t(k.scratch_bytes(*job, plan.groups[size_t(team % job->group_count)], backward));
  }
  tg::Weights none = {};
  const size_t weights = job->packed ? 0 : lay_out_weights(&none, *job, nullptr, forward_weights, backward);
  const bool other_dx = backward && job->grad.dx && job->layer.directions == 2;
  const int64_t dx_rows = job->starts ? job->total : job->layer.batch * job->layer.steps;
  const size_t dx = other_dx ? size_t(dx_rows * job->layer.input_size) * number_bytes(job->layer) : 0;
  const Memory memory(all + weights * size_t(job->layer.directions) + dx + 64);
  if (!memory.data()) return fail(TG_NO_MEMORY, "scratch: expected %zu bytes, got none", all + weights * 2 + dx);
  std::vector<char *> scratch;
  for (size_t offset : bytes) scratch.push_back(memory.data() + offset);
  char *at = memory.data() + all;
  if (!job->packed)
    for (int d = 0; d < job->layer.directions; ++d, at += weights) lay_out_weights(&job->weights[d], *job, at, forward_weights, backward);
  job->dx_other = other_dx ? at : nullptr;
  job->scratch = scratch.data();
  std::vector<tg::Barrier> barriers(size_t(job->team_count), tg::Barrier{0, 0});
  job->team_barriers = barriers.data();
  tg::Lease lease(std::min(wanted, job->team_count * plan.team_size));
  const auto run = [&](int threads) {
    job->threads = threads;
    job->team_size = threads == job->team_count * plan.team_size ? plan.team_size : 1;
    job->packing = job->teams = job->sums = tg::Phase{0, 0};
    Call call = {job, backward ? k.backward : k.forward};
    if (threads == lease.threads()) return lease.run(enter, &call);
    enter(&call, 0);
    return true;
  };
  if (!run(lease.threads())) run(1);
  return TG_OK;
}

template <class F> tg_status guarded(F f) {
  try {
    return f();
  } catch (const std::bad_alloc &) {
    return fail(TG_NO_MEMORY, "plan: no memory%s", "");
  }
}

tg_status forward(const tg_layer *layer, const tg_packed *packed, const tg_outputs *out);

}  // namespace

namespace {

template <class T> int64_t drawn(int64_t n, const T *logits, const uint8_t *forbidden, double temperature, double u, double *mass) {
  double top = -HUGE_VAL, total = 0;
  for (int64_t k = 0; k < n; ++k) {
    mass[k] = forbidden && forbidden[k] ? -HUGE_VAL : double(logits[k]);
    if (!(mass[k] <= top)) top = mass[k]; /* NaN comes through */
  }
  if (!std::isfinite(top)) return -1;
  for (int64_t k = 0; k < n; ++k) mass[k] = total += std::exp((mass[k] - top) / temperature);
  if (!std::isfinite(total)) return -1;
  return std::upper_bound(mass, mass + n, u * total) - mass;
}

}  // namespace

struct tg_packed {
  struct Eight {
    tg::Layer8 layers[2];
  };
  const Kernels *kernels = nullptr;
  tg_layer layer = {};
  tg::Weights weights[2] = {};
  char *memory = nullptr;
  std::unique_ptr<Eight> eight; /* in whole numbers; the weights are then unused */
  ~tg_packed() { std::free(memory); }
};

struct tg_packed_linear {
  const Kernels *kernels;
  int32_t dtype;
  int64_t n, k;
  char *memory;
  std::unique_ptr<tg::Linear8> eight; /* in whole numbers */
};

#include "int8_entry.h"

namespace {

tg_status forward(const tg_layer *layer, const tg_packed *packed, const tg_outputs *out) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  tg_status status = check(layer);
  if (status == TG_OK && !packed) status = check_weights(*layer);
  if (status != TG_OK) return status;
  if (!out || !out->hn || (layer->cell == TG_LSTM && !out->cn) || (!out->y && layer->batch && layer->steps))
    return layer->batch == 0 ? TG_OK : fail(TG_BAD_ARGUMENT, "outputs: expected y, hn and the LSTM's cn, got NULL%s", "");
  if (packed && (packed->kernels != k || packed->layer.cell != layer->cell || packed->layer.dtype != layer->dtype ||
                 packed->layer.directions != layer->directions || packed->layer.input_size != layer->input_size ||
                 packed->layer.hidden_size != layer->hidden_size))
    return fail(TG_BAD_ARGUMENT, "packed: expected the layer's cell, dtype, sizes and instruction set (%s)", k->name);
  if (packed && packed->eight) return layer->batch ? forward_of_eight(*layer, *packed, *out) : TG_OK;
  return guarded([&] {
    const int threads = tg::get_threads();
    Rows rows;
    Job job = {};
    job.layer = rows.of(*layer);
    job.starts = rows.packed();
    const Plan plan = tg::plan_of(job.layer, *k, threads, false);
    job.out = *out;
    job.packed = packed != nullptr;
    if (packed) std::memcpy(job.weights, packed->weights, sizeof job.weights);
    job.keep = out->reserve != nullptr;
    if (job.keep) {
      const Header header = {magic, threads, int32_t(plan.layout.lanes), layer->cell, layer->recompute, plan.total};
      wish_large_pages(out->reserve, tg_reserve_bytes(layer));
      std::memcpy(out->reserve, &header, sizeof header);
      job.reserve = static_cast<char *>(out->reserve) + header_bytes;
    }
    return execute(&job, plan, *k, threads, false);
  });
}

}  // namespace

extern "C" {

size_t tg_reserve_bytes(const tg_layer *layer) {
  const Kernels *k = kernels();
  if (!k || check(layer) != TG_OK) return 0;
  const tg::Layout l = tg::layout_of(*layer, *k, false);
  const int64_t a_row = (layer->recompute ? 0 : l.kept_row) + (layer->cell == TG_LSTM ? l.h_row : 0);
  return header_bytes + size_t(tg::total_of(*layer) * layer->directions * a_row) * number_bytes(*layer);
}

tg_status tg_forward(const tg_layer *layer, const tg_outputs *out) { return forward(layer, nullptr, out); }

tg_status tg_forward_packed(const tg_layer *layer, const tg_packed *packed, const tg_outputs *out) {
  if (!packed) return fail(TG_BAD_ARGUMENT, "packed: expected weights, got NULL%s", "");
  return forward(layer, packed, out);
}

tg_status tg_backward(const tg_layer *layer, const tg_gradients *io) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  tg_status status = check(layer);
  if (status == TG_OK) status = check_weights(*layer);
  if (status != TG_OK) return status;
  if (!io || !io->reserve || (!io->y && layer->batch && layer->steps)) return fail(TG_BAD_ARGUMENT, "gradients: expected y and reserve, got NULL%s", "");
  return guarded([&] {
    Header header;
    std::memcpy(&header, io->reserve, sizeof header);
    if (header.magic != magic || header.lanes != k->lanes[layer->dtype] || header.cell != layer->cell || header.recompute != layer->recompute ||
        header.total != tg::total_of(*layer))
      return fail(TG_BAD_ARGUMENT, "reserve: expected that of this layer's forward pass on %s", k->name);
    Rows rows;
    Job job = {};
    job.layer = rows.of(*layer);
    job.starts = rows.packed();
    job.grad = *io;
    const Plan plan = tg::plan_of(job.layer, *k, header.threads, true);
    job.reserve = static_cast<char *>(const_cast<void *>(io->reserve)) + header_bytes;
    return execute(&job, plan, *k, header.threads, true);
  });
}

tg_status tg_pack(const tg_layer *layer, tg_packed **packed) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  tg_layer sizes = layer ? *layer : tg_layer{};
  sizes.batch = sizes.steps = 0;
  sizes.lengths = nullptr;
  tg_status status = check(layer ? &sizes : nullptr);
  if (status == TG_OK) status = check_weights(sizes);
  if (status != TG_OK) return status;
  return guarded([&] {
    auto made = std::make_unique<tg_packed>();
    Job job = {};
    job.layer = sizes;
    job.layout = tg::layout_of(sizes, *k, false);
    job.threads = 1;
    const size_t bytes = lay_out_weights(&job.weights[0], job, nullptr, true, false);
    made->memory = static_cast<char *>(std::aligned_alloc(64, bytes * size_t(sizes.directions) + 64));
    if (!made->memory) return fail(TG_NO_MEMORY, "packed: expected %zu bytes, got none", bytes);
    for (int d = 0; d < sizes.directions; ++d) lay_out_weights(&job.weights[d], job, made->memory + size_t(d) * bytes, true, false);
    k->pack(&job);
    made->kernels = k;
    made->layer = sizes;
    std::memcpy(made->weights, job.weights, sizeof job.weights);
    *packed = made.release();
    return TG_OK;
  });
}

void tg_unpack(tg_packed *packed) {
  delete packed;
}

tg_status tg_pack_linear(int32_t dtype, int64_t n, int64_t k, const void *w, const void *b, tg_packed_linear **packed) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  if ((dtype != TG_F32 && dtype != TG_F64) || n < 0 || k < 0 || (n && k && !w) || !packed)
    return fail(TG_BAD_ARGUMENT, "linear: expected dtype 0 or 1, sizes of at least 0 and weights, got dtype %d, N %lld, K %lld", dtype, (long long)n,
                (long long)k);
  const int64_t outputs = (n + build->lanes[dtype] - 1) / build->lanes[dtype] * build->lanes[dtype];
  return guarded([&] {
    auto made = std::make_unique<tg_packed_linear>(tg_packed_linear{build, dtype, n, k, nullptr, nullptr});
    const size_t bytes = size_t(tg::round_up(outputs * (k + 1) * 8 + 64));
    made->memory = static_cast<char *>(std::aligned_alloc(64, bytes));
    if (!made->memory) return fail(TG_NO_MEMORY, "linear: expected %zu bytes, got none", bytes);
    build->pack_linear(dtype, n, k, w, b, made->memory);
    *packed = made.release();
    return TG_OK;
  });
}

void tg_unpack_linear(tg_packed_linear *packed) {
  if (!packed) return;
  std::free(packed->memory);
  delete packed;
}

tg_status tg_linear_packed(int64_t m, const void *x, int64_t x_row, const tg_packed_linear *packed, void *y, int64_t y_row) {
  if (!packed || m < 0) return fail(TG_BAD_ARGUMENT, "linear: expected packed weights and at least 0 rows, got %lld rows", (long long)m);
  if (packed->eight) return linear_of_eight(m, static_cast<const float *>(x), x_row, *packed, static_cast<float *>(y), y_row);
  struct Rows {
    int64_t m;
    const char *x;
    int64_t x_row;
    const tg_packed_linear *packed;
    char *y;
    int64_t y_row;
    int threads;
  } rows = {m, static_cast<const char *>(x), x_row, packed, static_cast<char *>(y), y_row, 1};
  constexpr double worth_a_thread = 1 << 19; /* multiply-adds */
  const double work = double(m) * double(packed->n) * double(packed->k);
  tg::Lease lease(int(std::min(double(tg::get_threads()), 1.0 + work / worth_a_thread)));
  const auto body = [](void *data, int rank) {
    const auto &own = *static_cast<const Rows *>(data);
    const int64_t first = own.m * rank / own.threads, last = own.m * (rank + 1) / own.threads;
    const size_t bytes = own.packed->dtype == TG_F32 ? 4 : 8;
    own.packed->kernels->linear(own.packed->dtype, last - first, own.packed->n, own.packed->k, own.x + size_t(first * own.x_row) * bytes, own.x_row,
                                own.packed->memory, own.y + size_t(first * own.y_row) * bytes, own.y_row);
  };
  rows.threads = lease.threads();
  if (!lease.run(body, &rows)) {
    rows.threads = 1;
    body(&rows, 0);
  }
  return TG_OK;
}

tg_status tg_linear(int32_t dtype, int64_t m, int64_t n, int64_t k, const void *x, int64_t x_row, const void *w, const void *b, void *y, int64_t y_row) {
  tg_packed_linear *packed = nullptr;
  tg_status status = tg_pack_linear(dtype, n, k, w, b, &packed);
  if (status == TG_OK) status = tg_linear_packed(m, x, x_row, packed, y, y_row);
  tg_unpack_linear(packed);
  return status;
}

/* Memory of this thread for a step, on a cache line; NULL where there is none. */
static char *own_memory(size_t bytes) {
  thread_local struct {
    std::unique_ptr<char, decltype(&std::free)> data{nullptr, &std::free};
    size_t bytes = 0;
  } work;
  if (work.bytes < bytes) {
    work.data.reset(static_cast<char *>(std::aligned_alloc(64, size_t(tg::round_up(int64_t(bytes))))));
    work.bytes = work.data ? bytes : 0;
  }
  return work.data.get();
}

struct tg_stack {
  const Kernels *kernels;
  tg::Stack stack;
  std::vector<tg::StepLayer> layers;
  std::vector<const tg_packed *> packed;
  const tg_packed_linear *linear;
  char *memory;
  ~tg_stack() { std::free(memory); }
};

/* A step of int8 layers; a linear layer may be of either kind. */
static tg_status step_of_eight(const tg_stack &stack, const float *x, int64_t code, float *h, float *c, float *y) {
  const tg::Stack &s = stack.stack;
  const int64_t size = s.layers[0].hidden_size;
  if (!x) x = static_cast<const float *>(s.vectors) + code * s.embedding;
  int64_t bytes = stack.linear && stack.linear->eight ? stack.kernels->linear_work8(*stack.linear->eight) : 0;
  for (const tg_packed *layer : stack.packed) bytes = std::max(bytes, stack.kernels->work8(layer->eight->layers[0]));
  char *work = own_memory(size_t(bytes));
  if (!work) return fail(TG_NO_MEMORY, "step: expected %lld bytes, got none", (long long)bytes);
  for (const tg_packed *layer : stack.packed) {
    stack.kernels->forward8(layer->eight->layers[0], 1, x, 0, h, c, nullptr, 0, work);
    x = h;
    h += size;
    if (c) c += size;
  }
  if (!stack.linear) std::memcpy(y, x, size_t(size) * sizeof(float));
  else if (stack.linear->eight) stack.kernels->linear8(*stack.linear->eight, 1, x, size, y, s.outputs, work);
  else stack.kernels->linear(TG_F32, 1, s.outputs, size, x, size, stack.linear->memory, y, s.outputs);
  return TG_OK;
}

tg_status tg_make_stack(int32_t count, const tg_packed *const *packed, int64_t codes, const void *vectors, const tg_packed_linear *linear,
                        tg_stack **stack) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  if (count < 1 || !packed || !stack || codes < 0 || (codes > 0) != (vectors != nullptr))
    return fail(TG_BAD_ARGUMENT, "stack: expected layers, and vectors where there are codes, got %d layers, %lld codes", count, (long long)codes);
  for (int32_t n = 0; n < count; ++n) {
    if (!packed[n]) return fail(TG_BAD_ARGUMENT, "stack: expected packed weights of layer %d, got NULL", n);
    const tg_layer &l = packed[n]->layer, &first = packed[0]->layer;
    if (packed[n]->kernels != k || (packed[n]->eight == nullptr) != (packed[0]->eight == nullptr) || l.directions != 1 || l.cell != first.cell || l.dtype != first.dtype || l.hidden_size != first.hidden_size ||
        (n && l.input_size != l.hidden_size))
      return fail(TG_BAD_ARGUMENT, "stack: expected layer %d in one direction, of the first one's cell, dtype and size, for %s", n, k->name);
  }
  const tg_layer &first = packed[0]->layer;
  if (linear && linear->eight && !packed[0]->eight) return fail(TG_BAD_ARGUMENT, "stack: expected int8 layers below an int8 linear one%s", "");
  if (linear && (linear->kernels != k || linear->dtype != first.dtype || linear->k != first.hidden_size))
    return fail(TG_BAD_ARGUMENT, "stack: expected a linear layer of %lld numbers, got %lld", (long long)first.hidden_size, (long long)linear->k);
  return guarded([&] {
    auto made = std::make_unique<tg_stack>();
    made->kernels = k;
    for (int32_t n = 0; n < count; ++n) {
      const tg_layer &l = packed[n]->layer;
      const tg::Layout layout = tg::layout_of(l, *k, false);
      made->packed.push_back(packed[n]);
      made->layers.push_back({l.cell, l.input_size, l.hidden_size, layout.blocks, layout.h_row, layout.kept_row, packed[n]->weights[0]});
    }
    made->linear = linear;
    tg::Stack &s = made->stack;
    s = {first.dtype, count, made->layers.data(), codes, first.input_size, vectors, nullptr, linear ? linear->n : 0, linear ? linear->memory : nullptr};
    /* Few codes: the product of each with its vector is kept instead, a row of sums for a matrix. */
    constexpr size_t most = size_t(1) << 22;
    const size_t row = size_t(made->layers[0].kept_row) * number_bytes(first), bytes = size_t(codes) * row;
    if (!codes || bytes > most || !first.input_size || packed[0]->eight) return *stack = made.release(), TG_OK;
    made->memory = static_cast<char *>(std::aligned_alloc(64, size_t(tg::round_up(int64_t(bytes)))));
    if (!made->memory) return fail(TG_NO_MEMORY, "stack: expected %zu bytes, got none", bytes);
    for (int64_t code = 0; code < codes; ++code)
      k->step_sums(first.dtype, made->layers[0], static_cast<const char *>(vectors) + size_t(code * first.input_size) * number_bytes(first),
                   made->memory + size_t(code) * row);
    s.sums = made->memory;
    *stack = made.release();
    return TG_OK;
  });
}

void tg_free_stack(tg_stack *stack) { delete stack; }

tg_status tg_step(const tg_stack *stack, const void *x, int64_t code, void *h, void *c, void *y) {
  if (!stack || !h || !y || (stack->layers[0].cell == TG_LSTM) != (c != nullptr))
    return fail(TG_BAD_ARGUMENT, "step: expected a stack, h, y, and c of the LSTM alone, got NULL%s", "");
  const tg::Stack &s = stack->stack;
  if (!x && (code < 0 || code >= s.codes) && (s.codes || s.embedding))
    return fail(TG_BAD_ARGUMENT, "step: expected x, or a code from 0 to %lld, got %lld", (long long)s.codes - 1, (long long)code);
  if (stack->packed[0]->eight) return step_of_eight(*stack, static_cast<const float *>(x), code, static_cast<float *>(h), static_cast<float *>(c), static_cast<float *>(y));
  const size_t bytes = size_t(tg::step_work(s)) * (s.dtype == TG_F32 ? 4 : 8);
  char *work = own_memory(bytes);
  if (!work) return fail(TG_NO_MEMORY, "step: expected %zu bytes, got none", bytes);
  stack->kernels->step(s, x, code, h, c, y, work);
  return TG_OK;
}

tg_status tg_step_rows(const tg_stack *stack, int64_t rows, const void *x, const int64_t *codes, void *const *h, void *const *c, void *y) {
  const bool both_or_none = (x != nullptr) == (codes != nullptr) && (x || (stack && stack->stack.embedding));
  if (!stack || rows < 0 || (rows && (!h || !y)) || both_or_none || (rows && (stack->layers[0].cell == TG_LSTM) != (c != nullptr)))
    return rows == 0 && stack ? TG_OK : fail(TG_BAD_ARGUMENT, "steps: expected a stack, x or codes, h, y, and c of the LSTM alone, got NULL%s", "");
  const tg::Stack &s = stack->stack;
  for (int64_t r = 0; codes && r < rows; ++r)
    if (codes[r] < 0 || codes[r] >= s.codes)
      return fail(TG_BAD_ARGUMENT, "steps: expected codes from 0 to %lld, got %lld", (long long)s.codes - 1, (long long)codes[r]);
  if (codes && !s.codes) return fail(TG_BAD_ARGUMENT, "steps: expected x, the stack has no codes%s", "");
  return guarded([&] {
    const size_t number = s.dtype == TG_F32 ? 4 : 8, own = size_t(s.layers[0].hidden_size) * number, block = size_t(tg::round_up(int64_t(own) * rows));
    const size_t given = codes ? size_t(s.embedding) * number : 0, parts = c ? 2 : 1;
    /* The states of every layer before and after, what a layer says, and the vectors of the codes. */
    const Memory memory((2 * parts * size_t(s.count) + 1) * block + size_t(tg::round_up(int64_t(given) * rows)) + 64);
    if (!memory.data()) return fail(TG_NO_MEMORY, "steps: no memory for %lld rows", (long long)rows);
    char *before = memory.data(), *after = before + parts * block * size_t(s.count), *said = after + parts * block * size_t(s.count), *vectors = said + block;
    for (int64_t r = 0; codes && r < rows; ++r)
      std::memcpy(vectors + size_t(r) * given, static_cast<const char *>(s.vectors) + size_t(codes[r]) * given, given);
    const auto at = [&](char *from, int32_t layer, size_t part) { return from + (size_t(layer) * parts + part) * block; };
    for (int32_t n = 0; n < s.count; ++n)
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(at(before, n, 0) + size_t(r) * own, static_cast<const char *>(h[r]) + size_t(n) * own, own);
        if (c) std::memcpy(at(before, n, 1) + size_t(r) * own, static_cast<const char *>(c[r]) + size_t(n) * own, own);
      }
    const void *input = codes ? vectors : x;
    for (int32_t n = 0; n < s.count; ++n) {
      tg_layer l = stack->packed[size_t(n)]->layer;
      l.batch = rows, l.steps = 1, l.x = input, l.x_batch = l.x_step = l.input_size;
      l.h0 = at(before, n, 0), l.c0 = c ? at(before, n, 1) : nullptr;
      const tg_outputs outputs = {n + 1 == s.count && !s.linear ? y : said, l.hidden_size, l.hidden_size, at(after, n, 0), c ? at(after, n, 1) : nullptr, nullptr};
      if (const tg_status status = tg_forward_packed(&l, stack->packed[size_t(n)], &outputs); status != TG_OK) return status;
      input = at(after, n, 0);
    }
    if (s.linear)
      if (const tg_status status = tg_linear_packed(rows, input, s.layers[0].hidden_size, stack->linear, y, s.outputs); status != TG_OK) return status;
    for (int32_t n = 0; n < s.count; ++n)
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(static_cast<char *>(h[r]) + size_t(n) * own, at(after, n, 0) + size_t(r) * own, own);
        if (c) std::memcpy(static_cast<char *>(c[r]) + size_t(n) * own, at(after, n, 1) + size_t(r) * own, own);
      }
    return TG_OK;
  });
}

tg_status tg_draw(int32_t dtype, int64_t n, const void *logits, const uint8_t *forbidden, double temperature, double u, double *work,
                  int64_t *code) {
  if (n < 0 || (n && !logits) || !work || !code || !(temperature > 0) || !(u >= 0 && u < 1) || (dtype != TG_F32 && dtype != TG_F64))
    return fail(TG_BAD_ARGUMENT, "draw: expected logits, a temperature above 0 and a number from 0 to below 1, got %g and %g", temperature, u);
  *code = dtype == TG_F32 ? drawn(n, static_cast<const float *>(logits), forbidden, temperature, u, work)
                          : drawn(n, static_cast<const double *>(logits), forbidden, temperature, u, work);
  return TG_OK;
}

tg_status tg_softmax(int32_t dtype, int64_t m, int64_t k, const int64_t *lengths, const void *x, void *y) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  build->softmax(dtype, m, k, lengths, x, y);
  return TG_OK;
}

tg_status tg_norm(int32_t dtype, int64_t m, int64_t k, const void *x, const void *gain, const void *bias, double eps, void *y) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  build->norm(dtype, m, k, x, gain, bias, eps, y);
  return TG_OK;
}

tg_status tg_pool(int32_t dtype, int32_t pooling, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *x, void *y) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  build->pool(dtype, pooling, b, t, c, lengths, x, y);
  return TG_OK;
}

tg_status tg_weigh(int32_t dtype, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *w, const void *x, void *y) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  build->weigh(dtype, b, t, c, lengths, w, x, y);
  return TG_OK;
}

tg_status tg_crf_run(const tg_crf *call) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  if (!call || call->tags < 1 || call->batch < 0 || call->steps < 0)
    return fail(TG_BAD_ARGUMENT, "crf: expected at least one tag, got %lld", (long long)(call ? call->tags : 0));
  const int64_t count = tg::crf_work(call->steps, call->tags);
  const Memory memory(size_t(count) * sizeof(double));
  if (!memory.data()) return fail(TG_NO_MEMORY, "crf: expected %lld numbers of work, got none", (long long)count);
  build->crf(*call, reinterpret_cast<double *>(memory.data()));
  return TG_OK;
}

tg_status tg_apply(int32_t dtype, int32_t function, int64_t n, const void *x, void *y) {
  const Kernels *build = kernels();
  if (!build) return TG_NO_ISA;
  build->apply(dtype, function, n, x, y);
  return TG_OK;
}

tg_status tg_set_num_threads(int32_t threads) {
  if (threads < 1 || threads > tg::max_threads) return fail(TG_BAD_ARGUMENT, "threads: expected 1 to %d, got %d", tg::max_threads, threads);
  tg::set_threads(threads);
  return TG_OK;
}
int32_t tg_get_num_threads(void) { return tg::get_threads(); }
void tg_use_openmp(tg_parallel parallel, tg_query team_size, tg_query rank) { tg::use_openmp(parallel, team_size, rank); }

const char *tg_isa(void) {
  const Kernels *k = kernels();
  return k ? k->name : "";
}

tg_status tg_set_isa(const char *name) {
  const Kernels *found = by_name(name);
  if (!found) return fail(TG_NO_ISA, "instruction set: expected one of '%s', got '%s'", tg_isas(), name);
  const std::lock_guard<std::mutex> lock(choosing);
  chosen = found;
  return TG_OK;
}

const char *tg_isas(void) {
  static const std::string names = [] {
    std::string all;
    for (const Kernels *k : runnable()) all += (all.empty() ? "" : " ") + std::string(k->name);
    return all;
  }();
  return names.c_str();
}

double tg_peak(int32_t threads, double seconds) {
  const Kernels *k = kernels();
  if (!k || threads < 1 || threads > tg::max_threads) return 0.0;
  using Clock = std::chrono::steady_clock;
  struct Run {
    const Kernels *kernels;
    double seconds, operations[tg::max_threads];
  } run = {k, seconds, {}};
  tg::Lease lease(threads);
  const auto body = [](void *data, int rank) {
    auto *own = static_cast<Run *>(data);
    const auto start = Clock::now();
    double past = 0.0;
    while (past < own->seconds) {
      own->operations[rank] += own->kernels->peak(100000);
      past = std::chrono::duration<double>(Clock::now() - start).count();
    }
    own->operations[rank] /= past;
  };
  if (!lease.run(body, &run)) return 0.0;
  double total = 0.0;
  for (double operations : run.operations) total += operations;
  return total / 1e9;
}

const char *tg_message(void) { return message; }

}  // extern "C"

#include "generic_entry.h"
