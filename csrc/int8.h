/* Layers of int8 weights, in whole numbers alone: products of 8-bit weights and 14-bit inputs, summed in 32 bits; cells of fixed.h.
 * Sums of whole numbers do not depend on their order: the same bits on every processor, for every batch and cutting of time. */
#ifndef TIDEGATE_INT8_H
#define TIDEGATE_INT8_H

#include "core.h"
#include "vec.h"

namespace {

using tg::Layer8;
using tg::Linear8;
using tg::Product8;
using Ints = Vector<float>::ints;
constexpr int64_t most_read = 8191; /* of an input, in its own units */

/* 2^exponent, -126 to 127. */
TG_INLINE float power_of(int32_t exponent) {
  const uint32_t bits = uint32_t(exponent + 127) << 23;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

TG_INLINE Ints whole(int32_t c) { return Ints{} + c; }
TG_INLINE Ints load_ints(const int32_t *p) {
  Ints v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
TG_INLINE void store_ints(int32_t *p, Ints v) { std::memcpy(p, &v, sizeof v); }

#define TG_INT Ints
#define TG_WHOLE(c) whole(c)
#define TG_UNDER(a, b, x, y) ((a) < (b) ? (x) : (y))
#define TG_CURVE(j, k) curve_at<j>(k)
template <int j> TG_INLINE Ints curve_at(Ints k);
#include "fixed.h"
alignas(64) const int32_t curve_table[4][32] = {{TG_CURVE_0}, {TG_CURVE_1}, {TG_CURVE_2}, {TG_CURVE_3}};
template <int j> TG_INLINE Ints curve_at(Ints k) {
#if defined(__AVX512F__)
  const __m512i *rows = reinterpret_cast<const __m512i *>(curve_table[j]);
  return (Ints)_mm512_permutex2var_epi32(rows[0], (__m512i)k, rows[1]);
#else
  Ints y = {};
  for (int n = 0; n < lanes<float>; ++n) y[n] = curve_table[j][k[n]];
  return y;
#endif
}
#undef TG_INT
#undef TG_WHOLE
#undef TG_UNDER
#undef TG_CURVE

/* What a product reads, for the two ways to multiply: 16-bit numbers, or their two bytes once 8192 is added, side by side. */
struct Read {
  int16_t *numbers;
  uint8_t *low, *high;
};
TG_INLINE Read read_at(char *memory, const Product8 &p) {
  uint8_t *bytes = reinterpret_cast<uint8_t *>(memory);
  return {reinterpret_cast<int16_t *>(memory), bytes, bytes + p.row};
}
/* 16-bit numbers from a vector of them; memory reaches to whole vectors. */
TG_INLINE void put(const Product8 &p, const Read &to, int64_t k, Ints q) {
#if defined(__AVX512BW__)
  if (p.dotted) {
    const __m512i v = _mm512_add_epi32((__m512i)q, _mm512_set1_epi32(8192));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to.low + k), _mm512_cvtepi32_epi8(v));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to.high + k), _mm512_cvtepi32_epi8(_mm512_srli_epi32(v, 8)));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to.numbers + k), _mm512_cvtepi32_epi16((__m512i)q));
  }
#else
  for (int n = 0; n < lanes<float>; ++n) to.numbers[k + n] = int16_t(q[n]);
  (void)p;
#endif
}
/* x in units of 2^-exponent, to the nearest; NaN is the lowest. */
TG_INLINE void read_input(const Product8 &p, const Read &to, const float *x, int32_t exponent) {
  const V<float> scale = all(power_of(exponent)), most = all(float(most_read));
  for (int64_t k = 0; k < p.size; k += lanes<float>) {
    V<float> v = load_upto(x + k, p.size - k) * scale;
    v = v > -most ? v : -most;
    v = v < most ? v : most;
    put(p, to, k, __builtin_convertvector(v + all(8192.5f), Ints) - 8192);
  }
}

/* Panels of 16 rows, four panels side by side: [group][4 inputs][panel][row][input]; or, not dotted, row after row. */
constexpr int panel_rows = 16, abreast = 4;

void pack8(const Product8 &p, const int8_t *w, int64_t gates, int64_t units) {
  const int64_t unit_row = p.rows / gates, panels = p.rows / panel_rows;
  for (int64_t r = 0; r < p.rows; ++r) {
    const int64_t gate = r / unit_row, unit = r % unit_row;
    const int8_t *from = unit < units ? w + (gate * units + unit) * p.size : nullptr;
    int32_t sum = 0;
    for (int64_t k = 0; k < p.row; ++k) {
      const int8_t value = from && k < p.size ? from[k] : int8_t(0);
      sum += value;
      if (!p.dotted) {
        p.weights[r * p.row + k] = value;
        continue;
      }
      const int64_t panel = r / panel_rows, group = panel / abreast * abreast, wide = panels - group < abreast ? panels - group : abreast;
      p.weights[group * panel_rows * p.row + ((k / 4) * wide + panel - group) * 64 + r % panel_rows * 4 + k % 4] = value;
    }
    p.low[r] = p.dotted ? int32_t(uint32_t(sum) * 0xffffe000u) : 0; /* -8192 times the row's sum */
  }
}

#if defined(__AVX512BW__)
#define TG_DOTTED __attribute__((target("avx512vnni")))
template <int n> TG_DOTTED inline void dotted_panels(const int8_t *w, const Read &x, int64_t row, const int32_t *low, int32_t *to) {
  __m512i lows[n], highs[n];
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) lows[i] = _mm512_loadu_si512(low + i * panel_rows), highs[i] = _mm512_setzero_si512();
  for (int64_t k = 0; k < row; k += 4, w += n * 64) {
    int32_t a, b;
    std::memcpy(&a, x.low + k, 4);
    std::memcpy(&b, x.high + k, 4);
    const __m512i v = _mm512_set1_epi32(a), u = _mm512_set1_epi32(b);
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) {
      const __m512i own = _mm512_loadu_si512(w + i * 64);
      lows[i] = _mm512_dpbusd_epi32(lows[i], v, own);
      highs[i] = _mm512_dpbusd_epi32(highs[i], u, own);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) _mm512_storeu_si512(to + i * panel_rows, _mm512_add_epi32(lows[i], _mm512_slli_epi32(highs[i], 8)));
}
TG_DOTTED void dotted(const Product8 &p, const Read &x, int32_t *to) {
  const int64_t panels = p.rows / panel_rows;
  for (int64_t group = 0; group < panels; group += abreast) {
    const int8_t *w = p.weights + group * panel_rows * p.row;
    const int32_t *low = p.low + group * panel_rows;
    int32_t *own = to + group * panel_rows;
    switch (panels - group) {
      case 1: dotted_panels<1>(w, x, p.row, low, own); break;
      case 2: dotted_panels<2>(w, x, p.row, low, own); break;
      case 3: dotted_panels<3>(w, x, p.row, low, own); break;
      default: dotted_panels<abreast>(w, x, p.row, low, own); break;
    }
  }
}
#endif

/* to [rows] = the weights' product with what was read. */
void product8(const Product8 &p, const Read &x, int32_t *to) {
#if defined(__AVX512BW__)
  if (p.dotted) return dotted(p, x, to);
#endif
  for (int64_t r = 0; r < p.rows; ++r) {
    const int8_t *w = p.weights + r * p.row;
#if defined(__AVX2__)
    __m256i sum = _mm256_setzero_si256();
    for (int64_t k = 0; k < p.row; k += 16) {
      const __m256i own = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(w + k)));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(own, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(x.numbers + k))));
    }
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    to[r] = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
#else
    int32_t sum = 0;
    for (int64_t k = 0; k < p.row; ++k) sum += int32_t(w[k]) * int32_t(x.numbers[k]);
    to[r] = sum;
#endif
  }
}

/* Two products in the units of a layer, together: (a scale_a + b scale_b) / 2^shift to the nearest, within 2^23 - 1. */
TG_INLINE Ints rescaled(Ints a, Ints scale_a, Ints b, Ints scale_b, int32_t shift) {
#if defined(__AVX512F__)
  const __m512i half = _mm512_set1_epi64(int64_t(1) << (shift - 1)), most = _mm512_set1_epi64(8388607), least = _mm512_set1_epi64(-8388607);
  const __m128i by = _mm_cvtsi32_si128(shift);
  const auto one = [&](__m512i v, __m512i s, __m512i u, __m512i r) {
    const __m512i sum = _mm512_sra_epi64(_mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epi32(v, s), _mm512_mul_epi32(u, r)), half), by);
    return _mm512_max_epi64(_mm512_min_epi64(sum, most), least);
  };
  const auto odd = [](Ints v) { return _mm512_srli_epi64((__m512i)v, 32); };
  const __m512i even = one((__m512i)a, (__m512i)scale_a, (__m512i)b, (__m512i)scale_b);
  const __m512i other = one(odd(a), odd(scale_a), odd(b), odd(scale_b));
  return (Ints)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(other, 32));
#else
  Ints y = {};
  for (int n = 0; n < lanes<float>; ++n) {
    const int64_t sum = (int64_t(a[n]) * scale_a[n] + int64_t(b[n]) * scale_b[n] + (int64_t(1) << (shift - 1))) >> shift;
    y[n] = int32_t(sum > 8388607 ? 8388607 : sum < -8388607 ? -8388607 : sum);
  }
  return y;
#endif
}

/* A step's own memory, in bytes from `memory`, which starts on a cache line. */
struct Work8 {
  Read x, h;
  int32_t *of_x, *of_h, *state, *cell;
  int64_t padded, bytes; /* the first `padded` are zero where no number stands */
  Work8(const Layer8 &l, char *memory) {
    char *at = memory;
    const auto take = [&](int64_t size) {
      char *own = at;
      at += tg::round_up(size);
      return own;
    };
    x = read_at(take(2 * l.x.row), l.x);
    h = read_at(take(2 * l.h.row), l.h);
    state = reinterpret_cast<int32_t *>(take(4 * l.unit_row));
    cell = reinterpret_cast<int32_t *>(take(4 * l.unit_row));
    padded = at - memory;
    of_x = reinterpret_cast<int32_t *>(take(4 * l.x.rows));
    of_h = reinterpret_cast<int32_t *>(take(4 * l.h.rows));
    bytes = at - memory;
  }
};
int64_t work8(const Layer8 &l) { return Work8(l, nullptr).bytes; }

TG_INLINE Ints sum_at(const Layer8 &l, const Work8 &w, int64_t at) {
  const Ints sum = rescaled(load_ints(w.of_x + at), load_ints(l.x.scale + at), load_ints(w.of_h + at), load_ints(l.h.scale + at), l.shift);
  return tg_held(sum + load_ints(l.x.bias + at) + load_ints(l.h.bias + at));
}
TG_INLINE Ints sum_of_one(const Layer8 &l, const Product8 &p, const int32_t *of, int64_t at) {
  const Ints none = {};
  return tg_held(rescaled(load_ints(of + at), load_ints(p.scale + at), none, none, l.shift) + load_ints(p.bias + at));
}

/* States to those after the step. */
void units8(const Layer8 &l, const Work8 &w) {
  const int64_t row = l.unit_row;
  if (l.cell == TG_LSTM) {
    for (int64_t u = 0; u < row; u += lanes<float>)
      store_ints(w.cell + u, tg_lstm_cell_whole(sum_at(l, w, u), sum_at(l, w, row + u), sum_at(l, w, 2 * row + u), load_ints(w.cell + u)));
    for (int64_t u = 0; u < row; u += lanes<float>)
      store_ints(w.state + u, tg_lstm_output_whole(sum_at(l, w, 3 * row + u), load_ints(w.cell + u)));
    return;
  }
  for (int64_t u = 0; u < row; u += lanes<float>) {
    Ints h = load_ints(w.state + u);
    if (l.cell == TG_GRU) {
      const Ints n = sum_of_one(l, l.x, w.of_x, 2 * row + u), own = sum_of_one(l, l.h, w.of_h, 2 * row + u);
      h = tg_gru_whole(sum_at(l, w, u), sum_at(l, w, row + u), n, own, h);
    } else {
      h = tg_rnn_tanh_whole(sum_at(l, w, u));
    }
    store_ints(w.state + u, h);
  }
}

/* A state to whole units, to the nearest; to [size to whole vectors]. */
TG_INLINE void begin_state(int32_t *to, const float *from, int64_t size) {
  const V<float> most = all(8388607.0f), half = all(0.5f);
  for (int64_t u = 0; u < size; u += lanes<float>) {
    V<float> v = load_upto(from + u, size - u) * all(65536.0f);
    v = v > -most ? v : -most;
    v = v < most ? v : most;
    store_ints(to + u, __builtin_convertvector(v + (v < V<float>{} ? -half : half), Ints));
  }
}
TG_INLINE void end_state(float *to, const int32_t *from, int64_t size) {
  for (int64_t u = 0; u < size; u += lanes<float>)
    store_upto(to + u, __builtin_convertvector(load_ints(from + u), V<float>) * all(0x1p-16f), size - u);
}

/* `steps` steps of one row; strides may be negative. h, c: the states, stepped in place. y may be NULL. */
void forward8(const Layer8 &l, int64_t steps, const float *x, int64_t x_step, float *h, float *c, float *y, int64_t y_step, char *memory) {
  const Work8 w(l, memory);
  const int64_t size = l.hidden_size;
  std::memset(memory, 0, size_t(w.padded));
  begin_state(w.state, h, size);
  if (c) begin_state(w.cell, c, size);
  for (int64_t t = 0; t < steps; ++t, x += x_step, y += y_step) {
    read_input(l.x, w.x, x, l.x_exponent);
    product8(l.x, w.x, w.of_x);
    for (int64_t u = 0; u < size; u += lanes<float>) put(l.h, w.h, u, tg_read(load_ints(w.state + u)));
    product8(l.h, w.h, w.of_h);
    units8(l, w);
    if (y) end_state(y, w.state, size);
  }
  end_state(h, w.state, size);
  if (c) end_state(c, w.cell, size);
}

int64_t linear_work8(const Linear8 &l) { return tg::round_up(2 * l.product.row) + tg::round_up(4 * l.product.rows); }

void linear8(const Linear8 &l, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row, char *memory) {
  const Product8 &p = l.product;
  const Read read = read_at(memory, p);
  int32_t *sums = reinterpret_cast<int32_t *>(memory + tg::round_up(2 * p.row));
  const float unit = power_of(-l.y_exponent);
  std::memset(memory, 0, size_t(2 * p.row));
  for (int64_t r = 0; r < m; ++r, x += x_row, y += y_row) {
    read_input(p, read, x, l.x_exponent);
    product8(p, read, sums);
    const Ints none = {};
    for (int64_t n = 0; n < p.rows; n += lanes<float>) {
      const Ints sum = tg_held(rescaled(load_ints(sums + n), load_ints(p.scale + n), none, none, l.shift) + load_ints(p.bias + n));
      for (int64_t j = 0; j < lanes<float> && n + j < l.outputs; ++j) y[n + j] = float(sum[j]) * unit;
    }
  }
}

}  // namespace
#endif
