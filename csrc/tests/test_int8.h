/* Layers of whole numbers against a plain loop over fixed.h. Part of test_core.cpp. */
#ifndef TIDEGATE_TEST_INT8_H
#define TIDEGATE_TEST_INT8_H

namespace whole {

#define TG_INT int32_t
#define TG_INLINE static inline
#define TG_WHOLE(c) int32_t(c)
#define TG_UNDER(a, b, x, y) ((a) < (b) ? (x) : (y))
#define TG_CURVE(j, k) row_##j[k]
#define TG_CURVE_TABLES                                                                                              \
  const int32_t row_0[] = {TG_CURVE_0}, row_1[] = {TG_CURVE_1}, row_2[] = {TG_CURVE_2}, row_3[] = {TG_CURVE_3};
#include "../fixed.h"
#undef TG_INT
#undef TG_INLINE

int64_t pick(int64_t low, int64_t high) { return low + int64_t(generator() % uint64_t(high - low + 1)); }
template <class T> std::vector<T> draw(int64_t n, int64_t low, int64_t high) {
  std::vector<T> values(static_cast<size_t>(n));
  for (T &v : values) v = T(pick(low, high));
  return values;
}

/* A matrix whose sums may be as large as they can. */
struct Matrix {
  int64_t rows, size;
  std::vector<int8_t> w;
  std::vector<int32_t> scale, bias;
  Matrix(int64_t n, int64_t k) : rows(n), size(k), w(draw<int8_t>(n * k, -127, 127)), scale(draw<int32_t>(n, 0, 1 << 30)), bias(draw<int32_t>(n, -8388607, 8388607)) {}
  int64_t scaled(int64_t r, const std::vector<int32_t> &x) const {
    int64_t sum = 0;
    for (int64_t k = 0; k < size; ++k) sum += int64_t(w[size_t(r * size + k)]) * x[size_t(k)];
    return sum * scale[size_t(r)];
  }
};
int32_t rounded(int64_t sum, int shift) {
  sum = (sum + (int64_t(1) << (shift - 1))) >> shift;
  return int32_t(std::max<int64_t>(-8388607, std::min<int64_t>(8388607, sum)));
}
int32_t read_of(float x, int exponent) {
  const float v = std::ldexp(x, exponent);
  return int32_t(std::min(std::max(v, -8191.0f), 8191.0f) + 8192.5f) - 8192;
}

struct Layer {
  int cell;
  int64_t inputs, units;
  Matrix x, h;
  int shift, exponent;
  Layer(int cell, int64_t inputs, int64_t units)
      : cell(cell), inputs(inputs), units(units), x(gates() * units, inputs), h(gates() * units, units), shift(int(pick(30, 50))), exponent(int(pick(8, 13))) {}
  int64_t gates() const { return cell == TG_LSTM ? 4 : cell == TG_GRU ? 3 : 1; }
  /* Units of 2^-16. */
  void step(const float *given, std::vector<int32_t> *own_h, std::vector<int32_t> *own_c) const {
    std::vector<int32_t> read, states, g(static_cast<size_t>(gates() * units)), u(static_cast<size_t>(units)), n(u);
    for (int64_t k = 0; k < inputs; ++k) read.push_back(read_of(given[k], exponent));
    for (int32_t v : *own_h) states.push_back(tg_read(v));
    for (int64_t r = 0; r < gates() * units; ++r) {
      const size_t at = size_t(r);
      g[at] = tg_held(rounded(x.scaled(r, read) + h.scaled(r, states), shift) + x.bias[at] + h.bias[at]);
      if (r < 2 * units) continue;
      n[at % u.size()] = tg_held(rounded(x.scaled(r, read), shift) + x.bias[at]);
      u[at % u.size()] = tg_held(rounded(h.scaled(r, states), shift) + h.bias[at]);
    }
    for (int64_t k = 0; k < units; ++k) {
      const size_t at = size_t(k), row = size_t(units);
      if (cell == TG_LSTM) {
        (*own_c)[at] = tg_lstm_cell_whole(g[at], g[row + at], g[2 * row + at], (*own_c)[at]);
        (*own_h)[at] = tg_lstm_output_whole(g[3 * row + at], (*own_c)[at]);
      } else {
        (*own_h)[at] = cell == TG_GRU ? tg_gru_whole(g[at], g[row + at], n[at], u[at], (*own_h)[at]) : tg_rnn_tanh_whole(g[at]);
      }
    }
  }
};

void check_layer(int cell, int directions, int64_t batch, int64_t steps, int64_t inputs, int64_t units) {
  std::ostringstream said;
  said << tg_isa() << " int8 cell " << cell << " D " << directions << " B " << batch << " T " << steps << " I " << inputs << " H " << units;
  const std::string name = said.str();
  const Layer layers[2] = {Layer(cell, inputs, units), Layer(cell, inputs, units)};
  tg_layer8 given = {};
  given.cell = cell, given.directions = directions, given.input_size = inputs, given.hidden_size = units;
  for (int d = 0; d < directions; ++d) {
    const Layer &l = layers[d];
    given.weight_ih[d] = l.x.w.data(), given.weight_hh[d] = l.h.w.data(), given.scale_ih[d] = l.x.scale.data(), given.scale_hh[d] = l.h.scale.data();
    given.bias_ih[d] = l.x.bias.data(), given.bias_hh[d] = l.h.bias.data(), given.shift[d] = l.shift, given.x_exponent[d] = l.exponent;
  }
  tg_packed *packed = nullptr;
  expect(tg_pack8(&given, &packed) == TG_OK, name + ": packed");
  const auto floats = [](int64_t n, double size) {
    const std::vector<double> drawn = ::draw(n, -size, size);
    return std::vector<float>(drawn.begin(), drawn.end());
  };
  std::vector<int64_t> lengths = draw<int64_t>(batch, 0, steps);
  const int64_t state = directions * batch * units;
  std::vector<float> x = floats(batch * steps * inputs, 4.0), h0 = floats(state, 1.0), c0 = floats(state, 200.0), hn(h0), cn(c0);
  std::vector<float> y(size_t(batch * steps * directions * units), 7.f);
  tg_layer layer = {};
  layer.cell = cell, layer.directions = directions, layer.batch = batch, layer.steps = steps, layer.input_size = inputs, layer.hidden_size = units;
  layer.lengths = lengths.data(), layer.x = x.data(), layer.x_batch = steps * inputs, layer.x_step = inputs, layer.h0 = h0.data();
  layer.c0 = cell == TG_LSTM ? c0.data() : nullptr;
  const tg_outputs out = {y.data(), steps * directions * units, directions * units, hn.data(), cell == TG_LSTM ? cn.data() : nullptr, nullptr};
  expect(tg_forward_packed(&layer, packed, &out) == TG_OK, name + ": run");
  bool same = true;
  for (int d = 0; d < directions; ++d)
    for (int64_t b = 0; b < batch; ++b) {
      const size_t at = size_t((d * batch + b) * units), n = size_t(units);
      std::vector<int32_t> h, c;
      const auto unit = [](float v) { return int32_t(std::round(std::min(std::max(v * 65536.0f, -8388607.0f), 8388607.0f))); };
      for (size_t k = 0; k < n; ++k) h.push_back(unit(h0[at + k])), c.push_back(unit(c0[at + k]));
      for (int64_t t = 0; t < steps; ++t) {
        const bool real = t < lengths[size_t(b)];
        const int64_t when = d && real ? lengths[size_t(b)] - 1 - t : t;
        if (real) layers[d].step(x.data() + (b * steps + when) * inputs, &h, &c);
        for (size_t k = 0; k < n; ++k) same &= y[size_t(((b * steps + when) * directions + d) * units) + k] == (real ? float(h[k]) / 65536.0f : 0.0f);
      }
      for (size_t k = 0; k < n; ++k) {
        const bool moved = lengths[size_t(b)] > 0;
        same &= hn[at + k] == (moved ? float(h[k]) / 65536.0f : h0[at + k]);
        if (cell == TG_LSTM) same &= cn[at + k] == (moved ? float(c[k]) / 65536.0f : c0[at + k]);
      }
    }
  expect(same, name + ": the plain loop's numbers");

  if (directions == 1 && batch && steps) { /* step by step, through a stack with a linear layer */
    const Matrix m(5, units);
    const tg_linear8 own = {5, units, m.w.data(), m.scale.data(), m.bias.data(), 40, 13, 10};
    tg_packed_linear *linear = nullptr;
    expect(tg_pack_linear8(&own, &linear) == TG_OK, name + ": linear");
    tg_stack *stack = nullptr;
    expect(tg_make_stack(1, &packed, 0, nullptr, linear, &stack) == TG_OK, name + ": stack");
    std::vector<int32_t> h(size_t(units), 0), c(h);
    std::vector<float> fh(size_t(units), 0.f), fc(fh), fy(5);
    void *const states[] = {fh.data()}, *const cells[] = {fc.data()};
    for (int64_t t = 0; t < steps; ++t) {
      const float *row = x.data() + t * inputs;
      const tg_status status = t % 2 ? tg_step(stack, row, -1, fh.data(), cell == TG_LSTM ? fc.data() : nullptr, fy.data())
                                     : tg_step_rows(stack, 1, row, nullptr, states, cell == TG_LSTM ? cells : nullptr, fy.data());
      layers[0].step(row, &h, &c);
      std::vector<int32_t> read;
      bool alike = status == TG_OK;
      for (size_t k = 0; k < h.size(); ++k) alike &= fh[k] == float(h[k]) / 65536.0f, read.push_back(tg_read(h[k]));
      for (int64_t r = 0; r < 5; ++r) alike &= fy[size_t(r)] == float(tg_held(rounded(m.scaled(r, read), 40) + m.bias[size_t(r)])) / 1024.0f;
      expect(alike, name + ": a step");
    }
    tg_free_stack(stack);
    tg_unpack_linear(linear);
  }
  tg_unpack(packed);
}

void check_all() {
  for (int cell : {int(TG_RNN_TANH), int(TG_LSTM), int(TG_GRU)})
    for (int64_t units : {1, 7, 16, 33, 70}) {
      tg_set_num_threads(int32_t(1 + pick(0, 3)));
      check_layer(cell, int(1 + pick(0, 1)), pick(0, 5), pick(0, 6), pick(0, 1) ? pick(0, 40) : units, units);
      check_layer(cell, 1, pick(1, 3), pick(1, 6), pick(1, 20), units);
    }
  const Matrix m(2, 3);
  tg_packed_linear *linear = nullptr;
  std::vector<int8_t> low = {-128, 0, 0, 0, 0, 0};
  std::vector<int32_t> huge = {1, (1 << 30) + 1}, far = {8388608, 0};
  const tg_linear8 bad[] = {
      {2, 3, low.data(), m.scale.data(), m.bias.data(), 40, 13, 10}, {2, 3, m.w.data(), huge.data(), m.bias.data(), 40, 13, 10},
      {2, 3, m.w.data(), m.scale.data(), far.data(), 40, 13, 10},    {2, 3, m.w.data(), m.scale.data(), m.bias.data(), 0, 13, 10},
      {2, 3, m.w.data(), m.scale.data(), m.bias.data(), 63, 13, 10}, {2, 3, m.w.data(), m.scale.data(), m.bias.data(), 40, 31, 10},
      {2, 3, m.w.data(), m.scale.data(), m.bias.data(), 40, 13, 31}, {2, 2065, m.w.data(), m.scale.data(), m.bias.data(), 40, 13, 10},
      {2, 3, nullptr, m.scale.data(), m.bias.data(), 40, 13, 10},
  };
  for (const tg_linear8 &each : bad) expect(tg_pack_linear8(&each, &linear) == TG_BAD_ARGUMENT, "int8: numbers out of range are refused");
  tg_layer8 layer = {};
  tg_packed *packed = nullptr;
  layer.cell = TG_RNN_RELU, layer.directions = 1, layer.hidden_size = 4;
  expect(tg_pack8(&layer, &packed) == TG_BAD_ARGUMENT, "int8: an rnn with ReLU is refused");
  layer.cell = TG_GRU;
  expect(tg_pack8(&layer, &packed) == TG_BAD_ARGUMENT && tg_pack8(nullptr, &packed) == TG_BAD_ARGUMENT, "int8: no weights are refused");
}

}  // namespace whole
#endif
