/* The core against a slow loop in double precision, and its gradients against differences of that loop. Plain C++17: run it under a
 * sanitizer with `make test-native`. Every array that the core gets is exactly as long as it must be, so that a step beyond is seen. */
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../tidegate.h"

namespace {

std::mt19937_64 generator(7);
int failures = 0, checks = 0;

void expect(bool ok, const std::string &what) {
  ++checks;
  if (ok) return;
  if (++failures < 20) std::printf("FAILED: %s\n", what.c_str());
}

std::vector<double> draw(int64_t n, double low = -1.0, double high = 1.0) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<size_t>(n));
  for (double &v : values) v = uniform(generator);
  return values;
}

struct Case {
  int cell, directions, recompute;
  int64_t batch, steps, input_size, hidden_size;
  bool ragged, masks, bias;
  std::string name() const {
    std::ostringstream s;
    s << tg_isa() << " threads " << tg_get_num_threads() << " cell " << cell << " D " << directions << " recompute " << recompute << " B " << batch
      << " T " << steps << " I " << input_size << " H " << hidden_size << " ragged " << ragged << " masks " << masks << " bias " << bias;
    return s.str();
  }
  int64_t gates() const { return cell == TG_LSTM ? 4 : cell == TG_GRU ? 3 : 1; }
};

/* Everything a layer reads, by name, so that any number of it can be moved for a difference. */
struct Inputs {
  std::vector<int64_t> lengths;
  std::vector<double> x, h0, c0, zone_h, zone_c, drop;
  std::vector<double> w_ih[2], w_hh[2], b_ih[2], b_hh[2];
};

Inputs draw_inputs(const Case &c) {
  Inputs in;
  const int64_t state = c.directions * c.batch * c.hidden_size, g = c.gates() * c.hidden_size;
  for (int64_t b = 0; b < c.batch; ++b) in.lengths.push_back(c.ragged ? int64_t(generator() % uint64_t(c.steps + 1)) : c.steps);
  in.x = draw(c.batch * c.steps * c.input_size);
  in.h0 = draw(state);
  in.c0 = draw(state);
  if (c.masks) {
    in.zone_h = draw(c.directions * c.steps * c.batch * c.hidden_size, 0, 1);
    in.zone_c = draw(c.directions * c.steps * c.batch * c.hidden_size, 0, 1);
    in.drop = draw(state, 0, 2);
  }
  for (int d = 0; d < c.directions; ++d) {
    const double bound = 1.0 / std::sqrt(double(c.hidden_size));
    in.w_ih[d] = draw(g * c.input_size, -bound, bound);
    in.w_hh[d] = draw(g * c.hidden_size, -bound, bound);
    in.b_ih[d] = c.bias ? draw(g, -bound, bound) : std::vector<double>();
    in.b_hh[d] = c.bias ? draw(g, -bound, bound) : std::vector<double>();
  }
  return in;
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

struct Outputs {
  std::vector<double> y, hn, cn;
};

/* The equations, one number at a time. */
Outputs slow(const Case &c, const Inputs &in) {
  const int64_t h_size = c.hidden_size, g = c.gates();
  Outputs out{std::vector<double>(size_t(c.batch * c.steps * c.directions * h_size)), in.h0, in.c0};
  for (int d = 0; d < c.directions; ++d)
    for (int64_t b = 0; b < c.batch; ++b) {
      double *h = out.hn.data() + (d * c.batch + b) * h_size, *cell = out.cn.data() + (d * c.batch + b) * h_size;
      for (int64_t k = 0; k < in.lengths[size_t(b)]; ++k) {
        const int64_t t = d ? in.lengths[size_t(b)] - 1 - k : k;
        const size_t products = size_t(g * h_size), units = size_t(h_size);
        std::vector<double> a(products), u(products), next(units), c_next(units);
        for (int64_t j = 0; j < g * h_size; ++j) {
          const size_t row = size_t(j);
          a[row] = c.bias ? in.b_ih[d][row] : 0.0;
          u[row] = c.bias ? in.b_hh[d][row] : 0.0;
          for (int64_t i = 0; i < c.input_size; ++i) a[row] += in.w_ih[d][size_t(j * c.input_size + i)] * in.x[size_t((b * c.steps + t) * c.input_size + i)];
          for (int64_t i = 0; i < h_size; ++i)
            u[row] += in.w_hh[d][size_t(j * h_size + i)] * h[i] * (c.masks ? in.drop[size_t((d * c.batch + b) * h_size + i)] : 1.0);
        }
        for (int64_t j = 0; j < h_size; ++j) {
          const auto sum = [&](int64_t gate) { return a[size_t(gate * h_size + j)] + u[size_t(gate * h_size + j)]; };
          double h_new = 0, c_new = 0;
          if (c.cell == TG_RNN_TANH) h_new = std::tanh(sum(0));
          if (c.cell == TG_RNN_RELU) h_new = std::max(0.0, sum(0));
          if (c.cell == TG_LSTM) {
            c_new = sigmoid(sum(1)) * cell[j] + sigmoid(sum(0)) * std::tanh(sum(2));
            h_new = sigmoid(sum(3)) * std::tanh(c_new);
          }
          if (c.cell == TG_GRU) {
            const double r = sigmoid(sum(0)), z = sigmoid(sum(1)), n = std::tanh(a[size_t(2 * h_size + j)] + r * u[size_t(2 * h_size + j)]);
            h_new = (1 - z) * n + z * h[j];
          }
          const size_t mask = size_t(((d * c.steps + t) * c.batch + b) * h_size + j);
          next[size_t(j)] = c.masks ? in.zone_h[mask] * h[j] + (1 - in.zone_h[mask]) * h_new : h_new;
          c_next[size_t(j)] = c.masks ? in.zone_c[mask] * cell[j] + (1 - in.zone_c[mask]) * c_new : c_new;
        }
        std::copy(next.begin(), next.end(), h);
        if (c.cell == TG_LSTM) std::copy(c_next.begin(), c_next.end(), cell);
        std::copy(next.begin(), next.end(), out.y.begin() + ((b * c.steps + t) * c.directions + d) * h_size);
      }
    }
  return out;
}

template <class T> std::vector<T> as(const std::vector<double> &v) { return std::vector<T>(v.begin(), v.end()); }
template <class T> std::vector<double> back(const std::vector<T> &v) { return std::vector<double>(v.begin(), v.end()); }

/* Inputs and weights in the core's number type, with the layer that points to them. */
template <class T> struct Held {
  std::vector<int64_t> lengths;
  std::vector<T> x, h0, c0, zone_h, zone_c, drop, w_ih[2], w_hh[2], b_ih[2], b_hh[2];
  tg_layer layer = {};

  Held(const Case &c, const Inputs &in)
      : lengths(in.lengths), x(as<T>(in.x)), h0(as<T>(in.h0)), c0(as<T>(in.c0)), zone_h(as<T>(in.zone_h)), zone_c(as<T>(in.zone_c)), drop(as<T>(in.drop)) {
    layer.cell = c.cell;
    layer.dtype = sizeof(T) == 4 ? TG_F32 : TG_F64;
    layer.directions = c.directions;
    layer.recompute = c.recompute;
    layer.batch = c.batch;
    layer.steps = c.steps;
    layer.input_size = c.input_size;
    layer.hidden_size = c.hidden_size;
    layer.lengths = c.ragged ? lengths.data() : nullptr;
    layer.x = x.data();
    layer.x_batch = c.steps * c.input_size;
    layer.x_step = c.input_size;
    for (int d = 0; d < c.directions; ++d) {
      w_ih[d] = as<T>(in.w_ih[d]);
      w_hh[d] = as<T>(in.w_hh[d]);
      b_ih[d] = as<T>(in.b_ih[d]);
      b_hh[d] = as<T>(in.b_hh[d]);
      layer.weight_ih[d] = w_ih[d].data();
      layer.weight_hh[d] = w_hh[d].data();
      layer.bias_ih[d] = c.bias ? b_ih[d].data() : nullptr;
      layer.bias_hh[d] = c.bias ? b_hh[d].data() : nullptr;
    }
    layer.h0 = h0.data();
    layer.c0 = c.cell == TG_LSTM ? c0.data() : nullptr;
    layer.zone_steps = c.steps;
    if (!c.masks) return;
    layer.zone_h = zone_h.data();
    layer.zone_c = c.cell == TG_LSTM ? zone_c.data() : nullptr;
    layer.drop_h = drop.data();
  }
};

template <class T> struct Ran {
  std::vector<T> y, hn, cn;
  std::vector<char> reserve;
};

template <class T> Ran<T> run(const Case &c, const Held<T> &held, bool keep) {
  const size_t state = size_t(c.directions * c.batch * c.hidden_size);
  Ran<T> ran{std::vector<T>(size_t(c.batch * c.steps * c.directions * c.hidden_size), T(9)), std::vector<T>(state, T(9)), std::vector<T>(state, T(9)),
             std::vector<char>(keep ? tg_reserve_bytes(&held.layer) : 0)};
  const int64_t row = c.directions * c.hidden_size;
  const tg_outputs out = {ran.y.data(), c.steps * row, row, ran.hn.data(), c.cell == TG_LSTM ? ran.cn.data() : nullptr, keep ? ran.reserve.data() : nullptr};
  expect(tg_forward(&held.layer, &out) == TG_OK, c.name() + ": forward: " + tg_message());
  return ran;
}

double worst(const std::vector<double> &a, const std::vector<double> &b) {
  double w = a.size() == b.size() ? 0.0 : 1e9;
  for (size_t k = 0; k < std::min(a.size(), b.size()); ++k) w = std::max(w, std::isnan(a[k]) ? 1e9 : std::fabs(a[k] - b[k]));
  return w;
}

template <class T> void check_values(const Case &c, const Inputs &in, double tolerance) {
  const Outputs wanted = slow(c, in);
  const Held<T> held(c, in);
  for (bool keep : {false, true}) {
    const Ran<T> ran = run(c, held, keep);
    expect(worst(back(ran.y), wanted.y) < tolerance, c.name() + ": y");
    expect(worst(back(ran.hn), wanted.hn) < tolerance, c.name() + ": hn");
    if (c.cell == TG_LSTM) expect(worst(back(ran.cn), wanted.cn) < tolerance, c.name() + ": cn");
  }
}

struct Back {
  std::vector<double> dx, dh0, dc0, dw_ih[2], dw_hh[2], db_ih[2], db_hh[2];
};

/* Gradients by the core, from those of y, hn and cn. */
Back backward(const Case &c, const Held<double> &held, const Ran<double> &ran, const std::vector<double> &dy, const std::vector<double> &dhn,
              const std::vector<double> &dcn) {
  const int64_t row = c.directions * c.hidden_size;
  Back of;
  tg_gradients io = {};
  io.y = ran.y.data();
  io.y_batch = io.dy_batch = held.layer.batch_sizes ? row : c.steps * row;
  io.y_step = io.dy_step = row;
  io.reserve = ran.reserve.data();
  io.dy = dy.data();
  io.dhn = dhn.data();
  io.dcn = c.cell == TG_LSTM ? dcn.data() : nullptr;
  of.dx.resize(held.x.size(), 9.0);
  of.dh0.resize(held.h0.size(), 9.0);
  of.dc0.resize(held.c0.size(), 9.0);
  io.dx = of.dx.data();
  io.dx_batch = held.layer.x_batch;
  io.dx_step = c.input_size;
  io.dh0 = of.dh0.data();
  io.dc0 = c.cell == TG_LSTM ? of.dc0.data() : nullptr;
  for (int d = 0; d < c.directions; ++d) {
    of.dw_ih[d].resize(held.w_ih[d].size(), 9.0);
    of.dw_hh[d].resize(held.w_hh[d].size(), 9.0);
    of.db_ih[d].resize(size_t(c.gates() * c.hidden_size), 9.0);
    of.db_hh[d].resize(size_t(c.gates() * c.hidden_size), 9.0);
    io.dweight_ih[d] = of.dw_ih[d].data();
    io.dweight_hh[d] = of.dw_hh[d].data();
    io.dbias_ih[d] = of.db_ih[d].data();
    io.dbias_hh[d] = of.db_hh[d].data();
  }
  expect(tg_backward(&held.layer, &io) == TG_OK, c.name() + ": backward: " + tg_message());
  return of;
}

/* Rows packed step after step give the bits of the padded batch, forward and backward. */
void check_packed(const Case &c, Inputs in) {
  for (int64_t &n : in.lengths) n = std::max<int64_t>(n, 1);
  std::sort(in.lengths.rbegin(), in.lengths.rend());
  in.lengths[0] = c.steps;
  Case ragged = c;
  ragged.ragged = true;
  const int64_t row = c.directions * c.hidden_size;
  const Held<double> padded(ragged, in);
  Held<double> packed(ragged, in);
  std::vector<int64_t> sizes;
  std::vector<std::pair<size_t, size_t>> places; /* of packed rows in the padded batch: row, step */
  for (int64_t t = 0; t < c.steps; ++t) {
    sizes.push_back(std::count_if(in.lengths.begin(), in.lengths.end(), [&](int64_t n) { return n > t; }));
    for (int64_t b = 0; b < sizes.back(); ++b) places.push_back({size_t(b), size_t(t)});
  }
  const auto pack = [&](const std::vector<double> &from, int64_t width) {
    std::vector<double> to;
    for (const auto &[b, t] : places) {
      const auto start = from.begin() + (int64_t(b) * c.steps + int64_t(t)) * width;
      to.insert(to.end(), start, start + width);
    }
    return to;
  };
  packed.x = pack(in.x, c.input_size);
  packed.layer.x = packed.x.data();
  packed.layer.x_batch = c.input_size;
  packed.layer.lengths = nullptr;
  packed.layer.batch_sizes = sizes.data();
  Ran<double> one = run(ragged, padded, true), other = one;
  other.y.assign(places.size() * size_t(row), 9.0);
  other.reserve.assign(tg_reserve_bytes(&packed.layer), 0);
  const tg_outputs out = {other.y.data(), row, 0, other.hn.data(), c.cell == TG_LSTM ? other.cn.data() : nullptr, other.reserve.data()};
  expect(tg_forward(&packed.layer, &out) == TG_OK, c.name() + ": packed: " + tg_message());
  expect(other.y == pack(one.y, row) && other.hn == one.hn && other.cn == one.cn, c.name() + ": packed rows have the same bits");
  const std::vector<double> dy = draw(int64_t(one.y.size())), dhn = draw(int64_t(one.hn.size())), dcn = draw(int64_t(one.hn.size()));
  const Back a = backward(ragged, padded, one, dy, dhn, dcn), b = backward(ragged, packed, other, pack(dy, row), dhn, dcn);
  expect(b.dx == pack(a.dx, c.input_size) && b.dh0 == a.dh0 && b.dw_ih[0] == a.dw_ih[0] && b.dw_hh[0] == a.dw_hh[0] && b.db_ih[0] == a.db_ih[0],
         c.name() + ": packed gradients have the same bits");
  if (c.batch < 2 || sizes.back() == sizes.front()) return;
  std::reverse(sizes.begin(), sizes.end());
  expect(tg_forward(&packed.layer, &out) == TG_BAD_ARGUMENT && std::strstr(tg_message(), "batch_sizes"), c.name() + ": rising sizes are refused");
}

/* Layers one above the other, step by step from a state, against the layers one after the other over the whole sequence. */
template <class T> void check_stack(int cell, int32_t layers, int64_t input_size, int64_t hidden_size, int64_t codes, int64_t outputs) {
  const int dtype = sizeof(T) == 4 ? TG_F32 : TG_F64;
  const int64_t steps = 9, g = (cell == TG_LSTM ? 4 : cell == TG_GRU ? 3 : 1) * hidden_size;
  const auto numbers = [](int64_t n) {
    const std::vector<double> from = draw(n);
    return std::vector<T>(from.begin(), from.end());
  };
  const std::string name = std::string(tg_isa()) + " stack cell " + std::to_string(cell) + " L " + std::to_string(layers) + " I " + std::to_string(input_size) +
                           " H " + std::to_string(hidden_size) + " V " + std::to_string(codes) + " dtype " + std::to_string(dtype);
  const std::vector<T> vectors = numbers(codes * input_size), w = numbers(outputs * hidden_size), b = numbers(outputs);
  std::vector<int64_t> said;
  std::vector<T> x = numbers(steps * input_size);
  for (int64_t t = 0; codes && t < steps; ++t) {
    said.push_back(int64_t(generator() % uint64_t(codes)));
    std::copy_n(vectors.begin() + said.back() * input_size, input_size, x.begin() + t * input_size);
  }
  std::vector<T> h = numbers(layers * hidden_size), c = numbers(layers * hidden_size), below = x, hn = h, cn = c;
  std::vector<tg_packed *> packed(size_t(layers), nullptr);
  for (int32_t n = 0; n < layers; ++n) {
    const int64_t size = n ? hidden_size : input_size;
    const std::vector<T> w_ih = numbers(g * size), w_hh = numbers(g * hidden_size), b_ih = numbers(g), b_hh = numbers(g);
    tg_layer l = {};
    l.cell = cell, l.dtype = dtype, l.directions = 1, l.batch = 1, l.steps = steps, l.input_size = size, l.hidden_size = hidden_size;
    l.x = below.data(), l.x_batch = steps * size, l.x_step = size;
    l.weight_ih[0] = w_ih.data(), l.weight_hh[0] = w_hh.data(), l.bias_ih[0] = b_ih.data(), l.bias_hh[0] = b_hh.data();
    l.h0 = h.data() + n * hidden_size, l.c0 = cell == TG_LSTM ? c.data() + n * hidden_size : nullptr;
    expect(tg_pack(&l, &packed[size_t(n)]) == TG_OK, name + ": " + tg_message());
    std::vector<T> y(size_t(steps * hidden_size));
    const tg_outputs out = {y.data(), steps * hidden_size, hidden_size, hn.data() + n * hidden_size,
                            cell == TG_LSTM ? cn.data() + n * hidden_size : nullptr, nullptr};
    expect(tg_forward_packed(&l, packed[size_t(n)], &out) == TG_OK, name + ": " + tg_message());
    below = y;
  }
  tg_packed_linear *linear = nullptr;
  std::vector<T> wanted = below;
  if (outputs) {
    expect(tg_pack_linear(dtype, outputs, hidden_size, w.data(), b.data(), &linear) == TG_OK, name + ": " + tg_message());
    wanted.assign(size_t(steps * outputs), T(0));
    expect(tg_linear_packed(steps, below.data(), hidden_size, linear, wanted.data(), outputs) == TG_OK, name + ": " + tg_message());
  }
  tg_stack *stack = nullptr;
  expect(tg_make_stack(layers, packed.data(), codes, codes ? vectors.data() : nullptr, linear, &stack) == TG_OK, name + ": " + tg_message());
  const int64_t width = outputs ? outputs : hidden_size;
  T *cells = cell == TG_LSTM ? c.data() : nullptr;
  std::vector<T> y(static_cast<size_t>(width));
  bool same = true;
  for (int64_t t = 0; t < steps; ++t) {
    const tg_status status = codes ? tg_step(stack, nullptr, said[size_t(t)], h.data(), cells, y.data())
                                   : tg_step(stack, x.data() + t * input_size, -1, h.data(), cells, y.data());
    same = same && status == TG_OK && std::equal(y.begin(), y.end(), wanted.begin() + t * width);
  }
  expect(same && h == hn && (!cells || c == cn), name + ": steps have the bits of the sequence");
  /* Three rows at once, each somewhere else, against one step of each. */
  constexpr int64_t rows = 3;
  std::vector<std::vector<T>> many_h, many_c, one_h, one_c;
  std::vector<void *> h_at, c_at;
  std::vector<T> rows_x, rows_y(static_cast<size_t>(rows * width)), one_y;
  std::vector<int64_t> rows_said;
  for (int64_t r = 0; r < rows; ++r) {
    many_h.push_back(numbers(layers * hidden_size)), many_c.push_back(numbers(layers * hidden_size));
    const int64_t t = (2 * r) % steps;
    rows_x.insert(rows_x.end(), x.begin() + t * input_size, x.begin() + (t + 1) * input_size);
    if (codes) rows_said.push_back(said[size_t(t)]);
  }
  one_h = many_h, one_c = many_c;
  for (int64_t r = 0; r < rows; ++r) {
    h_at.push_back(many_h[size_t(r)].data()), c_at.push_back(many_c[size_t(r)].data());
    expect(tg_step(stack, codes ? nullptr : rows_x.data() + r * input_size, codes ? rows_said[size_t(r)] : -1, one_h[size_t(r)].data(),
                   cells ? one_c[size_t(r)].data() : nullptr, y.data()) == TG_OK,
           name + ": " + tg_message());
    one_y.insert(one_y.end(), y.begin(), y.end());
  }
  expect(tg_step_rows(stack, rows, codes ? nullptr : rows_x.data(), codes ? rows_said.data() : nullptr, h_at.data(), cells ? c_at.data() : nullptr,
                      rows_y.data()) == TG_OK,
         name + ": " + tg_message());
  expect(rows_y == one_y && many_h == one_h && many_c == one_c, name + ": rows at once have the bits of each alone");
  const std::vector<T> before = h;
  if (codes) expect(tg_step(stack, nullptr, codes, h.data(), cells, y.data()) == TG_BAD_ARGUMENT && h == before, name + ": a code too large is refused");
  tg_free_stack(stack);
  tg_unpack_linear(linear);
  for (tg_packed *each : packed) tg_unpack(each);
}

void check_stacks() {
  for (int cell = TG_RNN_TANH; cell <= TG_GRU; ++cell)
    for (int64_t hidden_size : {1, 7, 16, 33, 100}) {
      check_stack<float>(cell, 2, 5, hidden_size, 6, 9);
      check_stack<float>(cell, 1, 5, hidden_size, 0, 0);
      check_stack<double>(cell, 3, 0, hidden_size, 0, 3);
    }
  check_stack<float>(TG_LSTM, 1, 3, 64, 17000, 5); /* too many codes to keep their products */
  const float logits[4] = {0.f, 1.f, 2.f, -INFINITY};
  const uint8_t forbidden[4] = {0, 1, 0, 0};
  double work[4];
  int64_t code = 7;
  const double first = 1.0 / (1.0 + std::exp(2.0)); /* of code 0 beside code 2 */
  for (const auto &[u, wanted] : {std::pair<double, int64_t>{0.0, 0}, {first - 1e-12, 0}, {first + 1e-12, 2}, {1.0 - 1e-16, 2}})
    expect(tg_draw(TG_F32, 4, logits, forbidden, 1.0, u, work, &code) == TG_OK && code == wanted, "draw");
  const double bad[2] = {0.0, NAN};
  expect(tg_draw(TG_F64, 2, bad, nullptr, 1.0, 0.5, work, &code) == TG_OK && code == -1, "draw: NaN");
  expect(tg_draw(TG_F32, 4, logits, nullptr, 0.0, 0.5, work, &code) == TG_BAD_ARGUMENT, "draw: temperature 0");
}

/* Some numbers of each input are moved up and down; the change of a random sum of the outputs is the gradient. */
void check_gradients(const Case &c, Inputs in) {
  const Outputs shape = slow(c, in);
  const std::vector<double> dy = draw(int64_t(shape.y.size())), dhn = draw(int64_t(shape.hn.size())), dcn = draw(int64_t(shape.cn.size()));
  const auto loss = [&] {
    const Outputs out = slow(c, in);
    double sum = 0;
    for (size_t k = 0; k < dy.size(); ++k) sum += dy[k] * out.y[k];
    for (size_t k = 0; k < dhn.size(); ++k) sum += dhn[k] * out.hn[k] + (c.cell == TG_LSTM ? dcn[k] * out.cn[k] : 0.0);
    return sum;
  };
  const Held<double> held(c, in);
  const Back of = backward(c, held, run(c, held, true), dy, dhn, dcn);
  const auto compare = [&](std::vector<double> &values, const std::vector<double> &gradient, const char *what) {
    for (int k = 0; k < 6 && !values.empty(); ++k) {
      const size_t at = generator() % values.size();
      const double step = 1e-5, kept = values[at];
      values[at] = kept + step;
      const double up = loss();
      values[at] = kept - step;
      const double down = loss();
      values[at] = kept;
      const double wanted = (up - down) / (2 * step);
      expect(std::fabs(gradient[at] - wanted) < 1e-5 * (1 + std::fabs(wanted)), c.name() + ": gradient of " + what);
    }
  };
  compare(in.x, of.dx, "x");
  compare(in.h0, of.dh0, "h0");
  if (c.cell == TG_LSTM) compare(in.c0, of.dc0, "c0");
  for (int d = 0; d < c.directions; ++d) {
    compare(in.w_ih[d], of.dw_ih[d], "weight_ih");
    compare(in.w_hh[d], of.dw_hh[d], "weight_hh");
    compare(in.b_ih[d], of.db_ih[d], "bias_ih");
    compare(in.b_hh[d], of.db_hh[d], "bias_hh");
  }
}

/* The generic loop. Without extras it is the fused one; with them its gradients are those of differences of its own values. */
void check_generic(Case c, Inputs in) {
  c.masks = false;
  c.recompute = 0;
  const bool norm = generator() % 2, before = c.cell == TG_GRU && generator() % 2, projected = c.cell == TG_LSTM && generator() % 2;
  const int64_t h_size = c.hidden_size, g = c.gates() * h_size, p = projected ? 1 + int64_t(generator() % uint64_t(h_size)) : h_size;
  const int64_t row = c.directions * p;
  in.h0 = draw(c.directions * c.batch * p);
  std::vector<double> w_hr[2], g_ih[2], g_hh[2], g_c[2], s_c[2];
  for (int d = 0; d < c.directions; ++d) {
    in.w_hh[d] = draw(g * p, -0.5, 0.5);
    if (projected) w_hr[d] = draw(p * h_size, -0.5, 0.5);
    if (norm) g_ih[d] = draw(g), g_hh[d] = draw(g);
    if (norm && c.cell == TG_LSTM) g_c[d] = draw(h_size), s_c[d] = draw(h_size);
  }
  Held<double> held(c, in);
  held.layer.zone_h = held.layer.zone_c = held.layer.drop_h = nullptr;
  const auto data = [](std::vector<double> &v) { return v.empty() ? nullptr : v.data(); };
  tg_extras extras = {};
  extras.reset_before = before;
  extras.layer_norm = norm;
  extras.proj_size = projected ? p : 0;
  extras.eps = 1e-5;
  for (int d = 0; d < c.directions; ++d) {
    extras.weight_hr[d] = data(w_hr[d]);
    extras.gain_ih[d] = data(g_ih[d]);
    extras.gain_hh[d] = data(g_hh[d]);
    extras.gain_c[d] = data(g_c[d]);
    extras.shift_c[d] = data(s_c[d]);
  }
  const std::string name = c.name() + " generic, norm " + std::to_string(norm) + " before " + std::to_string(before) + " P " + std::to_string(p);
  std::vector<double> y(size_t(c.batch * c.steps * row)), hn(in.h0.size()), cn(in.c0.size());
  std::vector<char> reserve(tg_generic_reserve_bytes(&held.layer, &extras));
  const auto forward = [&](bool keep) {
    const tg_outputs out = {y.data(), c.steps * row, row, hn.data(), c.cell == TG_LSTM ? cn.data() : nullptr, keep ? reserve.data() : nullptr};
    expect(tg_generic_forward(&held.layer, &extras, &out) == TG_OK, name + ": forward: " + tg_message());
  };
  forward(false);
  if (!norm && !before && !projected) {
    const Ran<double> fused = run(c, held, false);
    expect(worst(y, fused.y) < 1e-12 && worst(hn, fused.hn) < 1e-12, name + ": the fused loop's values");
  }
  const std::vector<double> without = y;
  forward(true);
  expect(y == without, name + ": the same bits with a reserve");
  const std::vector<double> dy = draw(int64_t(y.size())), dhn = draw(int64_t(hn.size())), dcn = draw(int64_t(cn.size()));
  struct Pair {
    std::vector<double> *values, gradient;
    const char *what;
  };
  std::vector<Pair> pairs;
  pairs.reserve(32);
  const auto wanted = [&](std::vector<double> &values, const char *what) -> double * {
    if (values.empty()) return nullptr;
    pairs.push_back({&values, std::vector<double>(values.size(), 9.0), what});
    return pairs.back().gradient.data();
  };
  tg_gradients io = {};
  tg_extra_gradients more = {};
  io.reserve = reserve.data();
  io.dy = dy.data();
  io.dy_batch = c.steps * row;
  io.dy_step = row;
  io.dhn = dhn.data();
  io.dcn = c.cell == TG_LSTM ? dcn.data() : nullptr;
  io.dx = wanted(held.x, "x");
  io.dx_batch = held.layer.x_batch;
  io.dx_step = held.layer.x_step;
  io.dh0 = wanted(held.h0, "h0");
  io.dc0 = c.cell == TG_LSTM ? wanted(held.c0, "c0") : nullptr;
  for (int d = 0; d < c.directions; ++d) {
    io.dweight_ih[d] = wanted(held.w_ih[d], "weight_ih");
    io.dweight_hh[d] = wanted(held.w_hh[d], "weight_hh");
    io.dbias_ih[d] = wanted(held.b_ih[d], "bias_ih");
    io.dbias_hh[d] = wanted(held.b_hh[d], "bias_hh");
    more.dweight_hr[d] = wanted(w_hr[d], "weight_hr");
    more.dgain_ih[d] = wanted(g_ih[d], "gain_ih");
    more.dgain_hh[d] = wanted(g_hh[d], "gain_hh");
    more.dgain_c[d] = wanted(g_c[d], "gain_c");
    more.dshift_c[d] = wanted(s_c[d], "shift_c");
  }
  expect(tg_generic_backward(&held.layer, &extras, &io, &more) == TG_OK, name + ": backward: " + tg_message());
  const auto loss = [&] {
    forward(false);
    double sum = 0;
    for (size_t k = 0; k < dy.size(); ++k) sum += dy[k] * y[k];
    for (size_t k = 0; k < dhn.size(); ++k) sum += dhn[k] * hn[k];
    for (size_t k = 0; k < dcn.size() && c.cell == TG_LSTM; ++k) sum += dcn[k] * cn[k];
    return sum;
  };
  for (const Pair &pair : pairs)
    for (int k = 0; k < 3; ++k) {
      const size_t at = generator() % pair.values->size();
      double &value = (*pair.values)[at];
      const double kept = value, step = 1e-6;
      value = kept + step;
      const double up = loss();
      value = kept - step;
      const double down = loss();
      value = kept;
      const double slope = (up - down) / (2 * step);
      expect(std::fabs(pair.gradient[at] - slope) < 2e-4 * (1 + std::fabs(slope)), name + ": gradient of " + pair.what);
    }
}

/* A row's numbers are the same alone, cut in two, and on any number of threads. */
void check_bits(const Case &c, const Inputs &in) {
  const Held<float> held(c, in);
  const int threads = tg_get_num_threads();
  const Ran<float> whole = run(c, held, false);
  for (int n : {1, 2, 3}) {
    tg_set_num_threads(n);
    expect(run(c, held, true).y == whole.y, c.name() + ": the same bits on other threads");
  }
  tg_set_num_threads(threads);
  if (c.directions == 2 || c.batch == 0) return;
  const size_t b = generator() % size_t(c.batch);
  const int64_t length = in.lengths[b], cut = length / 2, h_size = c.hidden_size;
  std::vector<float> h(held.h0.begin() + int64_t(b) * h_size, held.h0.begin() + int64_t(b + 1) * h_size);
  std::vector<float> cell(held.c0.begin() + int64_t(b) * h_size, held.c0.begin() + int64_t(b + 1) * h_size), y(size_t(length * h_size));
  for (int part = 0; part < 2; ++part) {
    tg_layer layer = held.layer;
    layer.batch = 1;
    layer.steps = part ? length - cut : cut;
    layer.lengths = nullptr;
    layer.x = held.x.data() + int64_t(b) * layer.x_batch + (part ? cut : 0) * layer.x_step;
    const std::vector<float> h_before = h, c_before = cell;
    layer.h0 = h_before.data();
    layer.c0 = c.cell == TG_LSTM ? c_before.data() : nullptr;
    const tg_outputs out = {y.data() + (part ? cut * h_size : 0), length * h_size, h_size, h.data(), c.cell == TG_LSTM ? cell.data() : nullptr, nullptr};
    expect(tg_forward(&layer, &out) == TG_OK, c.name() + ": piece");
  }
  expect(std::equal(y.begin(), y.end(), whole.y.begin() + int64_t(b) * c.steps * h_size), c.name() + ": the same bits alone and cut in two");
}

/* The sums over all paths of a conditional random field, path by path. Outputs begin with numbers that must be overwritten. */
template <class T> void check_crf(double tolerance) {
  const int64_t b = 3, t = 4, k = 3, lengths[] = {4, 0, 2};
  const std::vector<T> e = as<T>(draw(b * t * k, -3, 3)), a = as<T>(draw(k * k)), first = as<T>(draw(k)), last = as<T>(draw(k));
  std::vector<T> total(b, T(9)), marginals(size_t(b * t * k), T(9)), pairs(size_t(b * k * k), T(9));
  const tg_crf call = {sizeof(T) == 4 ? TG_F32 : TG_F64, b, t, k, lengths, e.data(), a.data(), first.data(), last.data(), total.data(),
                       marginals.data(), pairs.data()};
  expect(tg_crf_run(&call) == TG_OK, "crf");
  for (int64_t r = 0; r < b; ++r) {
    const int64_t n = lengths[r];
    double sum = 0;
    std::vector<double> steps(size_t(t * k), 0), both(size_t(k * k), 0);
    for (int64_t path = 0; n && path < int64_t(std::pow(k, n)); ++path) {
      std::vector<int64_t> y;
      for (int64_t s = 0, rest = path; s < n; ++s, rest /= k) y.push_back(rest % k);
      double score = double(first[y[0]]) + double(last[y[n - 1]]);
      for (int64_t s = 0; s < n; ++s) score += double(e[(r * t + s) * k + y[s]]) + (s ? double(a[y[s - 1] * k + y[s]]) : 0.0);
      const double p = std::exp(score);
      sum += p;
      for (int64_t s = 0; s < n; ++s) steps[s * k + y[s]] += p;
      for (int64_t s = 1; s < n; ++s) both[y[s - 1] * k + y[s]] += p;
    }
    expect(std::abs(double(total[r]) - (n ? std::log(sum) : 0.0)) < tolerance, "crf: log-partition");
    for (int64_t i = 0; i < t * k; ++i)
      expect(std::abs(double(marginals[r * t * k + i]) - (n ? steps[i] / sum : 0.0)) < tolerance, "crf: marginals");
    for (int64_t i = 0; i < k * k; ++i) expect(std::abs(double(pairs[r * k * k + i]) - (n ? both[i] / sum : 0.0)) < tolerance, "crf: pairs");
  }
}

void check_refusals() {
  tg_layer layer = {};
  tg_outputs out = {};
  expect(tg_forward(nullptr, &out) == TG_BAD_ARGUMENT, "NULL layer");
  layer.cell = 9;
  expect(tg_forward(&layer, &out) == TG_BAD_ARGUMENT, "unknown cell");
  layer.cell = TG_GRU;
  layer.directions = 1;
  expect(tg_forward(&layer, &out) == TG_BAD_ARGUMENT && std::strstr(tg_message(), "hidden_size"), "hidden_size 0");
  expect(tg_set_num_threads(0) == TG_BAD_ARGUMENT && tg_set_num_threads(257) == TG_BAD_ARGUMENT, "thread counts");
  expect(tg_set_isa("z80") == TG_NO_ISA, "unknown instruction set");
}

/* Thread counts that change from call to call: a thread that wakes late must not run a call twice. */
void check_changing_threads() {
  const Case c = {TG_RNN_TANH, 1, 0, 12, 30, 8, 33, false, false, true};
  const Inputs in = draw_inputs(c);
  const Held<float> held(c, in);
  const std::vector<float> wanted = run(c, held, false).y;
  bool same = true;
  for (int k = 0; k < 2000 && same; ++k) {
    tg_set_num_threads(1 + k * 7 % 5);
    same = run(c, held, false).y == wanted;
  }
  expect(same, "the same bits while the number of threads changes");
}

/* Many callers at once: one has the pool, the others work alone; every one gets its own numbers. */
void check_callers() {
  tg_set_num_threads(2);
  const Case c = {TG_LSTM, 2, 0, 6, 9, 5, 20, true, false, true};
  const Inputs in = draw_inputs(c);
  const Held<float> held(c, in);
  const std::vector<float> wanted = run(c, held, false).y;
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int k = 0; k < 4; ++k)
    callers.emplace_back([&] {
      for (int j = 0; j < 50; ++j) {
        std::vector<float> y(wanted.size()), hn(size_t(2 * 6 * 20)), cn(size_t(2 * 6 * 20));
        const tg_outputs out = {y.data(), 9 * 40, 40, hn.data(), cn.data(), nullptr};
        if (tg_forward(&held.layer, &out) != TG_OK || y != wanted) ++wrong;
      }
    });
  for (auto &caller : callers) caller.join();
  expect(wrong == 0, "calls from several threads");
}

#include "test_int8.h"

}  // namespace

int main(int argc, char **argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 60;
  const int64_t sizes[] = {1, 2, 7, 17, 33};
  std::istringstream names(tg_isas());
  for (std::string isa; names >> isa;) {
    expect(tg_set_isa(isa.c_str()) == TG_OK, "set " + isa);
    for (int k = 0; k < rounds; ++k) {
      const auto pick = [&](int64_t n) { return int64_t(generator() % uint64_t(n)); };
      tg_set_num_threads(int32_t(1 + pick(4)));
      const Case c = {int(pick(4)), int(1 + pick(2)), int(pick(2)), pick(8), pick(9), pick(4) ? sizes[pick(5)] : 0, sizes[pick(5)], pick(2) == 0,
                      pick(3) == 0, pick(4) != 0};
      const Inputs in = draw_inputs(c);
      check_values<float>(c, in, 2e-5);
      check_values<double>(c, in, 1e-12);
      if (!c.masks) check_bits(c, in);
      if (c.batch && c.steps) check_gradients(c, in);
      if (c.batch && c.steps) check_packed(c, in);
      check_generic(c, in);
    }
    check_crf<float>(2e-5);
    check_crf<double>(1e-12);
    check_stacks();
    whole::check_all();
  }
  check_refusals();
  check_changing_threads();
  check_callers();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures ? 1 : 0;
}
