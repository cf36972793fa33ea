/* The int8 part of the C interface: checks, layouts, rows over threads. Part of dispatch.cpp, whose helpers it uses. */
#ifndef TIDEGATE_INT8_ENTRY_H
#define TIDEGATE_INT8_ENTRY_H

#include "core.h"

namespace {

constexpr int64_t most_inputs8 = 2064; /* 127 * 8191 * 2064 fits 32 bits */
constexpr int32_t most_bias8 = (1 << 23) - 1, most_scale8 = 1 << 30;

tg_status check_numbers8(const char *name, int64_t rows, int64_t size, const int8_t *w, const int32_t *scale, const int32_t *bias) {
  if (size < 0 || size > most_inputs8 || rows < 1 || rows > (int64_t(1) << 30))
    return fail(TG_BAD_ARGUMENT, "%s: expected 0 to %lld inputs and 1 to 2^30 rows, got %lld and %lld", name, (long long)most_inputs8, (long long)size, (long long)rows);
  if ((!w && size) || !scale || !bias) return fail(TG_BAD_ARGUMENT, "%s: expected weights, scales and biases, got NULL", name);
  for (int64_t k = 0; k < rows * size; ++k)
    if (w[k] < -127) return fail(TG_BAD_ARGUMENT, "%s: expected weights of at least -127, got -128", name);
  for (int64_t r = 0; r < rows; ++r)
    if (scale[r] < 0 || scale[r] > most_scale8 || bias[r] < -most_bias8 || bias[r] > most_bias8)
      return fail(TG_BAD_ARGUMENT, "%s: expected scales from 0 to 2^30 and biases within 2^23 - 1, got %d and %d", name, scale[r], bias[r]);
  return TG_OK;
}

tg_status check_units8(const char *name, int32_t shift, int32_t exponent) {
  if (shift < 1 || shift > 62 || exponent < -16 || exponent > 30)
    return fail(TG_BAD_ARGUMENT, "%s: expected a shift from 1 to 62 and an exponent from -16 to 30, got %d and %d", name, shift, exponent);
  return TG_OK;
}

/* Whether bytes are multiplied four at a time. */
bool dotted8(const Kernels &k) {
#if defined(__x86_64__)
  return !std::strcmp(k.name, "avx512") && __builtin_cpu_supports("avx512vnni");
#else
  return (void)k, false;
#endif
}

/* Sizes of a product, and its arrays where memory is given. */
size_t lay_out8(tg::Product8 *p, const Kernels &k, int64_t gates, int64_t units, int64_t size, char *memory) {
  const auto up = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  p->rows = gates * up(units, 16), p->size = size, p->row = up(size, 32), p->dotted = dotted8(k);
  size_t used = 0;
  const auto take = [&](int64_t bytes) {
    char *at = memory ? memory + used : nullptr;
    used += size_t(tg::round_up(bytes));
    return at;
  };
  p->weights = reinterpret_cast<int8_t *>(take(p->rows * p->row));
  for (int32_t **part : {&p->low, &p->scale, &p->bias}) *part = reinterpret_cast<int32_t *>(take(4 * p->rows));
  return used;
}

void fill8(const tg::Product8 &p, const Kernels &k, int64_t gates, int64_t units, const int8_t *w, const int32_t *scale, const int32_t *bias) {
  k.pack8(p, w, gates, units);
  const int64_t row = p.rows / gates;
  for (int64_t r = 0; r < p.rows; ++r) {
    const bool real = r % row < units;
    const int64_t from = r / row * units + r % row;
    p.scale[r] = real ? scale[from] : 0, p.bias[r] = real ? bias[from] : 0;
  }
}

int64_t gates_of8(int32_t cell) { return cell == TG_LSTM ? 4 : cell == TG_GRU ? 3 : 1; }

/* Rows and directions over threads: each has a state of its own. */
tg_status forward_of_eight(const tg_layer &l, const tg_packed &packed, const tg_outputs &out) {
  if (l.zone_h || l.zone_c || l.drop_h || l.batch_sizes || out.reserve)
    return fail(TG_BAD_ARGUMENT, "int8: expected no zoneout, dropout, batch_sizes or reserve%s", "");
  struct Run {
    const tg_layer &l;
    const tg_packed &packed;
    const tg_outputs &out;
    char *memory;
    int64_t bytes;
    int threads;
  };
  int64_t bytes = 0;
  for (int d = 0; d < l.directions; ++d) bytes = std::max(bytes, packed.kernels->work8(packed.eight->layers[d]));
  tg::Lease lease(int(std::min<int64_t>(tg::get_threads(), l.batch * l.directions)));
  const Memory memory(size_t(bytes) * size_t(lease.threads()) + 64);
  if (!memory.data()) return fail(TG_NO_MEMORY, "int8: expected %lld bytes, got none", (long long)bytes);
  Run run = {l, packed, out, memory.data(), bytes, lease.threads()};
  const auto body = [](void *data, int rank) {
    const Run &own = *static_cast<const Run *>(data);
    const tg_layer &l = own.l;
    const int64_t size = l.hidden_size;
    for (int64_t place = rank; place < l.batch * l.directions; place += own.threads) {
      const int64_t d = place / l.batch, row = place % l.batch, at = place * size, steps = l.lengths ? l.lengths[row] : l.steps;
      float *h = static_cast<float *>(own.out.hn) + at, *c = l.cell == TG_LSTM ? static_cast<float *>(own.out.cn) + at : nullptr;
      const auto begin = [&](float *to, const void *from) {
        if (from) std::memcpy(to, static_cast<const float *>(from) + at, size_t(size) * sizeof(float));
        else std::memset(to, 0, size_t(size) * sizeof(float));
      };
      begin(h, l.h0);
      if (c) begin(c, l.c0);
      const int64_t sign = d ? -1 : 1, first = d && steps ? steps - 1 : 0;
      const float *x = static_cast<const float *>(l.x) + row * l.x_batch + first * l.x_step;
      float *y = own.out.y ? static_cast<float *>(own.out.y) + row * own.out.y_batch + d * size : nullptr;
      if (steps)
        own.packed.kernels->forward8(own.packed.eight->layers[d], steps, x, sign * l.x_step, h, c, y ? y + first * own.out.y_step : nullptr,
                                     sign * own.out.y_step, own.memory + rank * own.bytes);
      for (int64_t t = steps; y && t < l.steps; ++t) std::memset(y + t * own.out.y_step, 0, size_t(size) * sizeof(float));
    }
  };
  if (!lease.run(body, &run)) {
    run.threads = 1;
    body(&run, 0);
  }
  return TG_OK;
}

tg_status linear_of_eight(int64_t m, const float *x, int64_t x_row, const tg_packed_linear &packed, float *y, int64_t y_row) {
  const int64_t bytes = packed.kernels->linear_work8(*packed.eight);
  const Memory memory(size_t(bytes) + 64);
  if (!memory.data()) return fail(TG_NO_MEMORY, "int8: expected %lld bytes, got none", (long long)bytes);
  packed.kernels->linear8(*packed.eight, m, x, x_row, y, y_row, memory.data());
  return TG_OK;
}

}  // namespace

extern "C" {

tg_status tg_pack8(const tg_layer8 *l, tg_packed **packed) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  if (!l || !packed || (l->cell != TG_RNN_TANH && l->cell != TG_LSTM && l->cell != TG_GRU) || (l->directions != 1 && l->directions != 2))
    return fail(TG_BAD_ARGUMENT, "int8: expected cell 0, 2 or 3 in 1 or 2 directions, got cell %d in %d", l ? l->cell : -1, l ? l->directions : 0);
  if (l->hidden_size < 1 || l->hidden_size > most_inputs8)
    return fail(TG_BAD_ARGUMENT, "hidden_size: expected 1 to %lld, got %lld", (long long)most_inputs8, (long long)l->hidden_size);
  const int64_t gates = gates_of8(l->cell), units = l->hidden_size;
  for (int d = 0; d < l->directions; ++d) {
    tg_status status = check_numbers8("weight_ih", gates * units, l->input_size, l->weight_ih[d], l->scale_ih[d], l->bias_ih[d]);
    if (status == TG_OK) status = check_numbers8("weight_hh", gates * units, units, l->weight_hh[d], l->scale_hh[d], l->bias_hh[d]);
    if (status == TG_OK) status = check_units8("layer", l->shift[d], l->x_exponent[d]);
    if (status != TG_OK) return status;
  }
  return guarded([&] {
    auto made = std::make_unique<tg_packed>();
    made->kernels = k;
    made->layer.cell = l->cell, made->layer.dtype = TG_F32, made->layer.directions = l->directions;
    made->layer.input_size = l->input_size, made->layer.hidden_size = units;
    made->eight = std::make_unique<tg_packed::Eight>();
    char *memory = nullptr;
    for (const bool placed : {false, true}) {
      size_t used = 0;
      for (int d = 0; d < l->directions; ++d) {
        tg::Layer8 &own = made->eight->layers[d];
        own = {l->cell, l->shift[d], l->x_exponent[d], l->input_size, units, (units + 15) / 16 * 16, {}, {}};
        used += lay_out8(&own.x, *k, gates, units, l->input_size, placed ? memory + used : nullptr);
        used += lay_out8(&own.h, *k, gates, units, units, placed ? memory + used : nullptr);
      }
      if (placed) break;
      const size_t page = used >= (size_t(1) << 18) ? size_t(1) << 21 : 64, bytes = (used + page - 1) / page * page;
      made->memory = memory = static_cast<char *>(std::aligned_alloc(page, bytes));
      wish_large_pages(memory, bytes);
      if (!memory) return fail(TG_NO_MEMORY, "packed: expected %zu bytes, got none", used);
    }
    for (int d = 0; d < l->directions; ++d) {
      const tg::Layer8 &own = made->eight->layers[d];
      fill8(own.x, *k, gates, units, l->weight_ih[d], l->scale_ih[d], l->bias_ih[d]);
      fill8(own.h, *k, gates, units, l->weight_hh[d], l->scale_hh[d], l->bias_hh[d]);
    }
    *packed = made.release();
    return TG_OK;
  });
}

tg_status tg_pack_linear8(const tg_linear8 *l, tg_packed_linear **packed) {
  const Kernels *k = kernels();
  if (!k) return TG_NO_ISA;
  if (!l || !packed) return fail(TG_BAD_ARGUMENT, "linear: expected a structure, got NULL%s", "");
  tg_status status = check_numbers8("weight", l->n, l->k, l->weight, l->scale, l->bias);
  if (status == TG_OK) status = check_units8("x", l->shift, l->x_exponent);
  if (status == TG_OK) status = check_units8("y", l->shift, l->y_exponent);
  if (status != TG_OK) return status;
  return guarded([&] {
    auto made = std::make_unique<tg_packed_linear>(tg_packed_linear{k, TG_F32, l->n, l->k, nullptr, nullptr});
    made->eight = std::make_unique<tg::Linear8>(tg::Linear8{l->shift, l->x_exponent, l->y_exponent, l->n, {}});
    tg::Product8 &p = made->eight->product;
    const size_t bytes = lay_out8(&p, *k, 1, l->n, l->k, nullptr);
    made->memory = static_cast<char *>(std::aligned_alloc(64, bytes));
    if (!made->memory) return fail(TG_NO_MEMORY, "linear: expected %zu bytes, got none", bytes);
    lay_out8(&p, *k, 1, l->n, l->k, made->memory);
    fill8(p, *k, 1, l->n, l->weight, l->scale, l->bias);
    *packed = made.release();
    return TG_OK;
  });
}

}  // extern "C"
#endif
