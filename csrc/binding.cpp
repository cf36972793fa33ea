/* The core as the Python module tidegate._native. In: numbers; arrays as addresses. Out: None, or ValueError and MemoryError.
 *
 * tidegate/native.py is the one caller: it checks shapes, and its callers hold the arrays. The interpreter's lock is given up for
 * calls above `worth_unlocking` multiply-adds, about 20 us of work. */
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <vector>

#include "tensors.h"
#include "tidegate.h"

namespace nb = nanobind;

namespace {

constexpr double worth_unlocking = 1 << 20;
constexpr double each_number = 32; /* what an elementwise operation costs, in multiply-adds */

struct NoIsa : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check(tg_status status) {
  if (status == TG_OK) return;
  if (status == TG_NO_MEMORY) throw std::bad_alloc();
  if (status == TG_NO_ISA) throw NoIsa(tg_message());
  throw nb::value_error(tg_message());
}

template <class P = const void *> P pointer(uintptr_t address) { return reinterpret_cast<P>(address); }

/* The letter of a buffer's numbers, 0 for others. NumPy writes '=f' for arrays that are not aligned, which the core cannot read. */
char kind_of(const Py_buffer &view) { return view.format && view.format[0] && !view.format[1] ? view.format[0] : char(0); }

/* The numbers of a dense float32 or float64 array, held while this lives. Throws ValueError for another array or length. */
class Dense {
 public:
  Dense(nb::handle array, const char *name, int64_t length) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) throw nb::python_error();
    const char kind = kind_of(view_);
    if ((kind == 'f' || kind == 'd') && view_.len == length * view_.itemsize) return;
    PyBuffer_Release(&view_);
    throw nb::value_error((std::string(name) + ": expected " + std::to_string(length) + " numbers of float32 or float64").c_str());
  }
  ~Dense() { PyBuffer_Release(&view_); }
  Dense(const Dense &) = delete;
  Dense &operator=(const Dense &) = delete;
  int dtype() const { return view_.itemsize == 4 ? TG_F32 : TG_F64; }
  const void *data() const { return view_.buf; }

 private:
  Py_buffer view_;
};

/* Runs without the interpreter's lock where it is worth it. */
template <class F> tg_status unlocked(double work, F f) {
  if (work < worth_unlocking) return f();
  nb::gil_scoped_release release;
  return f();
}

int64_t whole(PyObject *items, Py_ssize_t at) {
  const long long value = PyLong_AsLongLong(PyTuple_GET_ITEM(items, at));
  if (value == -1 && PyErr_Occurred()) throw nb::python_error();
  return value;
}

template <class P> P address(PyObject *items, Py_ssize_t at) {
  void *value = PyLong_AsVoidPtr(PyTuple_GET_ITEM(items, at));
  if (!value && PyErr_Occurred()) throw nb::python_error();
  return static_cast<P>(value);
}

/* 4 addresses a direction: weight_ih, weight_hh, bias_ih, bias_hh. */
template <class P> void weights(PyObject *items, int directions, P *w_ih, P *w_hh, P *b_ih, P *b_hh) {
  if (!PyTuple_Check(items) || PyTuple_GET_SIZE(items) != 4 * directions) throw nb::value_error("weights: expected a tuple of 4 addresses a direction");
  for (int d = 0; d < directions; ++d) {
    w_ih[d] = address<P>(items, 4 * d);
    w_hh[d] = address<P>(items, 4 * d + 1);
    b_ih[d] = address<P>(items, 4 * d + 2);
    b_hh[d] = address<P>(items, 4 * d + 3);
  }
}

/* From native.LayerCall, whose fields stand in this order. */
tg_layer layer_of(nb::handle call) {
  PyObject *c = call.ptr();
  constexpr Py_ssize_t fields = 20;
  if (!PyTuple_Check(c) || PyTuple_GET_SIZE(c) != fields) throw nb::value_error("call: expected a LayerCall of 20 fields");
  tg_layer l = {};
  l.cell = int32_t(whole(c, 0));
  l.dtype = int32_t(whole(c, 1));
  l.directions = int32_t(whole(c, 2));
  l.recompute = int32_t(whole(c, 3));
  l.batch = whole(c, 4);
  l.steps = whole(c, 5);
  l.input_size = whole(c, 6);
  l.hidden_size = whole(c, 7);
  l.lengths = address<const int64_t *>(c, 8);
  l.x = address<const void *>(c, 9);
  l.x_batch = whole(c, 10);
  l.x_step = whole(c, 11);
  if (l.directions != 1 && l.directions != 2) throw nb::value_error("directions: expected 1 or 2");
  weights(PyTuple_GET_ITEM(c, 12), l.directions, l.weight_ih, l.weight_hh, l.bias_ih, l.bias_hh);
  l.h0 = address<const void *>(c, 13);
  l.c0 = address<const void *>(c, 14);
  l.zone_h = address<const void *>(c, 15);
  l.zone_c = address<const void *>(c, 16);
  l.zone_steps = whole(c, 17);
  l.drop_h = address<const void *>(c, 18);
  l.batch_sizes = address<const int64_t *>(c, 19);
  return l;
}

/* 5 addresses a direction: weight_hr, gain_ih, gain_hh, gain_c, shift_c. */
template <class P> void extra_weights(PyObject *items, int directions, P *w_hr, P *g_ih, P *g_hh, P *g_c, P *s_c) {
  if (!PyTuple_Check(items) || PyTuple_GET_SIZE(items) != 5 * directions) throw nb::value_error("extras: expected a tuple of 5 addresses a direction");
  for (int d = 0; d < directions; ++d) {
    w_hr[d] = address<P>(items, 5 * d);
    g_ih[d] = address<P>(items, 5 * d + 1);
    g_hh[d] = address<P>(items, 5 * d + 2);
    g_c[d] = address<P>(items, 5 * d + 3);
    s_c[d] = address<P>(items, 5 * d + 4);
  }
}

/* From native.ExtrasCall, whose fields stand in this order. */
tg_extras extras_of(nb::handle extras, int directions) {
  PyObject *e = extras.ptr();
  if (!PyTuple_Check(e) || PyTuple_GET_SIZE(e) != 5) throw nb::value_error("extras: expected an ExtrasCall of 5 fields");
  tg_extras x = {};
  x.reset_before = int32_t(whole(e, 0));
  x.layer_norm = int32_t(whole(e, 1));
  x.proj_size = whole(e, 2);
  x.eps = PyFloat_AsDouble(PyTuple_GET_ITEM(e, 3));
  if (x.eps == -1.0 && PyErr_Occurred()) throw nb::python_error();
  extra_weights(PyTuple_GET_ITEM(e, 4), directions, x.weight_hr, x.gain_ih, x.gain_hh, x.gain_c, x.shift_c);
  return x;
}

double work_of(const tg_layer &l) {
  return double(l.batch) * double(l.steps) * double(l.hidden_size) * double(l.input_size + l.hidden_size) * 4.0;
}

class Packed {
 public:
  explicit Packed(nb::handle call) {
    const tg_layer layer = layer_of(call);
    check(tg_pack(&layer, &packed_));
    size_ = double(layer.hidden_size) * double(layer.input_size + layer.hidden_size) * 4.0;
  }
  /* In whole numbers: a tuple a direction of the addresses of weight_ih, weight_hh, scale_ih, scale_hh, bias_ih, bias_hh, then shift
   * and x_exponent. */
  Packed(int cell, int64_t inputs, int64_t units, nb::list directions) {
    tg_layer8 layer = {};
    layer.cell = cell, layer.directions = int32_t(nb::len(directions)), layer.input_size = inputs, layer.hidden_size = units;
    if (layer.directions != 1 && layer.directions != 2) throw nb::value_error("directions: expected 1 or 2");
    for (int d = 0; d < layer.directions; ++d) {
      PyObject *own = nb::handle(directions[size_t(d)]).ptr();
      if (!PyTuple_Check(own) || PyTuple_GET_SIZE(own) != 8) throw nb::value_error("directions: expected tuples of 8 numbers");
      layer.weight_ih[d] = address<const int8_t *>(own, 0), layer.weight_hh[d] = address<const int8_t *>(own, 1);
      layer.scale_ih[d] = address<const int32_t *>(own, 2), layer.scale_hh[d] = address<const int32_t *>(own, 3);
      layer.bias_ih[d] = address<const int32_t *>(own, 4), layer.bias_hh[d] = address<const int32_t *>(own, 5);
      layer.shift[d] = int32_t(whole(own, 6)), layer.x_exponent[d] = int32_t(whole(own, 7));
    }
    check(tg_pack8(&layer, &packed_));
    size_ = double(units) * double(inputs + units) * 4.0;
  }
  ~Packed() { tg_unpack(packed_); }
  Packed(const Packed &) = delete;
  Packed &operator=(const Packed &) = delete;
  const tg_packed *get() const { return packed_; }
  double size() const { return size_; } /* multiply-adds of a step */

 private:
  double size_ = 0;
  tg_packed *packed_ = nullptr;
};

class PackedLinear {
 public:
  PackedLinear(int dtype, int64_t n, int64_t k, uintptr_t w, uintptr_t b) : size_(double(n) * double(k)) {
    check(tg_pack_linear(dtype, n, k, pointer(w), pointer(b), &packed_));
  }
  PackedLinear(int64_t n, int64_t k, uintptr_t w, uintptr_t scale, uintptr_t bias, int shift, int x_exponent, int y_exponent) : size_(double(n) * double(k)) {
    const tg_linear8 linear = {n, k, pointer<const int8_t *>(w), pointer<const int32_t *>(scale), pointer<const int32_t *>(bias), shift, x_exponent, y_exponent};
    check(tg_pack_linear8(&linear, &packed_));
  }
  ~PackedLinear() { tg_unpack_linear(packed_); }
  PackedLinear(const PackedLinear &) = delete;
  PackedLinear &operator=(const PackedLinear &) = delete;
  const tg_packed_linear *get() const { return packed_; }
  double size() const { return size_; }

 private:
  double size_;
  tg_packed_linear *packed_ = nullptr;
};

bool all_finite(int dtype, const void *data, int64_t n) {
  const auto sound = [n](const auto *x) {
    auto sum = x[0] - x[0]; /* 0, or NaN from the first NaN or Inf on */
    for (int64_t k = 1; k < n; ++k) sum += x[k] - x[k];
    return sum == 0;
  };
  return n == 0 || (dtype == TG_F32 ? sound(static_cast<const float *>(data)) : sound(static_cast<const double *>(data)));
}

/* Layers for single steps; keeps what it borrows. */
class Stack {
 public:
  Stack(nb::list packed, int64_t codes, uintptr_t vectors, nb::handle linear) : packed_(packed), linear_(nb::borrow(linear)) {
    std::vector<const tg_packed *> layers;
    for (nb::handle layer : packed) {
      layers.push_back(nb::cast<const Packed &>(layer).get());
      work_ += nb::cast<const Packed &>(layer).size();
    }
    const tg_packed_linear *last = linear.is_none() ? nullptr : nb::cast<const PackedLinear &>(linear).get();
    check(tg_make_stack(int32_t(layers.size()), layers.data(), codes, pointer(vectors), last, &stack_));
  }
  ~Stack() { tg_free_stack(stack_); }
  Stack(const Stack &) = delete;
  Stack &operator=(const Stack &) = delete;
  const tg_stack *get() const { return stack_; }
  double work() const { return work_; }
  void step(uintptr_t x, int64_t code, uintptr_t h, uintptr_t c, uintptr_t y) const {
    check(unlocked(work_, [&] { return tg_step(stack_, pointer(x), code, pointer<void *>(h), pointer<void *>(c), pointer<void *>(y)); }));
  }

 private:
  nb::list packed_;
  nb::object linear_;
  double work_ = 0;
  tg_stack *stack_ = nullptr;
};

/* One stream through a stack that reads x: the state, and what a step costs in Python but the kernel itself.
 *
 * step(x, out): where x is a dense array of the right dtype and length with finite numbers and `out` one of the outputs', the state is
 * stepped and `out` returned; where `out` is None a new one is made by `empty()`. Everything else goes to `slow(self, x, out)`. */
class Stepper {
 public:
  Stepper(const Stack &stack, nb::object state, uintptr_t h, uintptr_t c, int dtype, int64_t inputs, int64_t outputs, nb::object empty, nb::object slow)
      : stack_(stack), state_(state), h_(pointer<void *>(h)), c_(pointer<void *>(c)), dtype_(dtype), inputs_(inputs), outputs_(outputs), empty_(empty), slow_(slow) {}

  static nb::object step(nb::handle_t<Stepper> self, nb::handle x, nb::handle out) {
    Stepper &own = *nb::inst_ptr<Stepper>(self);
    Py_buffer in, to;
    /* Of exactly the state's class: a subclass may mean more than its bytes say, as a mask does. */
    if (Py_TYPE(x.ptr()) == Py_TYPE(own.state_.ptr()) && own.open(x, &in, own.inputs_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) {
      const bool sound = all_finite(own.dtype_, in.buf, own.inputs_);
      nb::object y = !sound ? nb::none() : out.is_none() ? own.empty_() : nb::borrow(out);
      if (sound && own.open(y, &to, own.outputs_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE)) {
        const tg_status status = unlocked(own.stack_.work(), [&] { return tg_step(own.stack_.get(), in.buf, -1, own.h_, own.c_, to.buf); });
        PyBuffer_Release(&to);
        PyBuffer_Release(&in);
        check(status);
        ++own.steps_;
        return y;
      }
      PyBuffer_Release(&in);
    }
    return own.slow_(self, x, out);
  }

  int64_t steps() const { return steps_; }
  nb::object state() const { return state_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  friend void step_many(nb::list, nb::handle, nb::handle);
  bool open(nb::handle array, Py_buffer *view, int64_t length, int flags) const {
    if (!PyObject_CheckBuffer(array.ptr())) return false;
    if (PyObject_GetBuffer(array.ptr(), view, flags)) {
      PyErr_Clear();
      return false;
    }
    const bool fits = view->ndim == 1 && view->shape && view->shape[0] == length && kind_of(*view) == (dtype_ == TG_F32 ? 'f' : 'd');
    if (!fits) PyBuffer_Release(view);
    return fits;
  }
  const Stack &stack_; /* kept alive by nanobind */
  nb::object state_;
  void *h_, *c_;
  int dtype_;
  int64_t inputs_, outputs_, steps_ = 0;
  bool taken_ = false;
  nb::object empty_, slow_;
};

/* Steps streams of one stack; x and y dense [rows, .] of its dtype, checked by the caller. */
void step_many(nb::list streams, nb::handle x, nb::handle y) {
  const size_t rows = nb::len(streams);
  std::vector<Stepper *> own;
  std::vector<void *> h, c;
  struct Given { /* marks are taken back whatever happens */
    std::vector<Stepper *> &own;
    ~Given() {
      for (Stepper *each : own) each->taken_ = false;
    }
  } given{own};
  for (nb::handle each : streams) {
    Stepper *one = nb::inst_ptr<Stepper>(each);
    if (one->taken_) throw nb::value_error("streams: expected different streams, got one twice");
    one->taken_ = true;
    own.push_back(one);
    if (&one->stack_ != &own[0]->stack_) throw nb::value_error("streams: expected streams of one model, got others");
    h.push_back(one->h_);
    if (one->c_) c.push_back(one->c_);
  }
  if (!rows) return;
  const Dense in(x, "x", int64_t(rows) * own[0]->inputs_), out(y, "y", int64_t(rows) * own[0]->outputs_);
  if (in.dtype() != own[0]->dtype_ || out.dtype() != own[0]->dtype_) throw nb::value_error("x, y: expected the dtype of the weights");
  if (!all_finite(in.dtype(), in.data(), int64_t(rows) * own[0]->inputs_)) throw nb::value_error("x: expected finite numbers");
  check(unlocked(double(rows) * own[0]->stack_.work(),
                 [&] { return tg_step_rows(own[0]->stack_.get(), int64_t(rows), in.data(), nullptr, h.data(), c.empty() ? nullptr : c.data(), const_cast<void *>(out.data())); }));
  for (Stepper *each : own) ++each->steps_;
}

/* Steps rows of a stack that reads x or codes, the other 0; h, c: arrays of their states, dense and all different, c empty but for the
 * LSTM. The caller checks sizes, and holds the arrays. */
void step_rows(const Stack &stack, nb::list h, nb::list c, uintptr_t x, uintptr_t codes, uintptr_t y) {
  const auto addresses = [](nb::list from) {
    std::vector<void *> found;
    for (nb::handle each : from) {
      Py_buffer view;
      if (PyObject_GetBuffer(each.ptr(), &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)) throw nb::python_error();
      found.push_back(view.buf);
      PyBuffer_Release(&view);
    }
    return found;
  };
  const std::vector<void *> own_h = addresses(h), own_c = addresses(c);
  check(unlocked(double(own_h.size()) * stack.work(), [&] {
    return tg_step_rows(stack.get(), int64_t(own_h.size()), pointer(x), pointer<const int64_t *>(codes), own_h.data(),
                        own_c.empty() ? nullptr : own_c.data(), pointer<void *>(y));
  }));
}

void forward(nb::handle call, uintptr_t y, int64_t y_batch, int64_t y_step, uintptr_t hn, uintptr_t cn, uintptr_t reserve) {
  const tg_layer layer = layer_of(call);
  const tg_outputs out = {pointer<void *>(y), y_batch, y_step, pointer<void *>(hn), pointer<void *>(cn), pointer<void *>(reserve)};
  check(unlocked(work_of(layer), [&] { return tg_forward(&layer, &out); }));
}

void forward_packed(nb::handle call, const Packed &packed, uintptr_t y, int64_t y_batch, int64_t y_step, uintptr_t hn, uintptr_t cn) {
  const tg_layer layer = layer_of(call);
  const tg_outputs out = {pointer<void *>(y), y_batch, y_step, pointer<void *>(hn), pointer<void *>(cn), nullptr};
  check(unlocked(work_of(layer), [&] { return tg_forward_packed(&layer, packed.get(), &out); }));
}

void backward(nb::handle call, uintptr_t y, int64_t y_batch, int64_t y_step, uintptr_t reserve, uintptr_t dy, int64_t dy_batch,
              int64_t dy_step, uintptr_t dhn, uintptr_t dcn, uintptr_t dx, int64_t dx_batch, int64_t dx_step, uintptr_t dh0,
              uintptr_t dc0, nb::handle dweights) {
  const tg_layer layer = layer_of(call);
  tg_gradients io = {};
  io.y = pointer(y);
  io.y_batch = y_batch;
  io.y_step = y_step;
  io.reserve = pointer(reserve);
  io.dy = pointer(dy);
  io.dy_batch = dy_batch;
  io.dy_step = dy_step;
  io.dhn = pointer(dhn);
  io.dcn = pointer(dcn);
  io.dx = pointer<void *>(dx);
  io.dx_batch = dx_batch;
  io.dx_step = dx_step;
  io.dh0 = pointer<void *>(dh0);
  io.dc0 = pointer<void *>(dc0);
  weights(dweights.ptr(), layer.directions, io.dweight_ih, io.dweight_hh, io.dbias_ih, io.dbias_hh);
  check(unlocked(work_of(layer), [&] { return tg_backward(&layer, &io); }));
}

void generic_forward(nb::handle call, nb::handle extras, uintptr_t y, int64_t y_batch, int64_t y_step, uintptr_t hn, uintptr_t cn, uintptr_t reserve) {
  const tg_layer layer = layer_of(call);
  const tg_extras more = extras_of(extras, layer.directions);
  const tg_outputs out = {pointer<void *>(y), y_batch, y_step, pointer<void *>(hn), pointer<void *>(cn), pointer<void *>(reserve)};
  check(unlocked(work_of(layer), [&] { return tg_generic_forward(&layer, &more, &out); }));
}

void generic_backward(nb::handle call, nb::handle extras, uintptr_t reserve, uintptr_t dy, int64_t dy_batch, int64_t dy_step,
                      uintptr_t dhn, uintptr_t dcn, uintptr_t dx, int64_t dx_batch, int64_t dx_step, uintptr_t dh0, uintptr_t dc0,
                      nb::handle dweights, nb::handle dextras) {
  const tg_layer layer = layer_of(call);
  const tg_extras given = extras_of(extras, layer.directions);
  tg_gradients io = {};
  io.reserve = pointer(reserve);
  io.dy = pointer(dy);
  io.dy_batch = dy_batch;
  io.dy_step = dy_step;
  io.dhn = pointer(dhn);
  io.dcn = pointer(dcn);
  io.dx = pointer<void *>(dx);
  io.dx_batch = dx_batch;
  io.dx_step = dx_step;
  io.dh0 = pointer<void *>(dh0);
  io.dc0 = pointer<void *>(dc0);
  weights(dweights.ptr(), layer.directions, io.dweight_ih, io.dweight_hh, io.dbias_ih, io.dbias_hh);
  tg_extra_gradients more = {};
  extra_weights(dextras.ptr(), layer.directions, more.dweight_hr, more.dgain_ih, more.dgain_hh, more.dgain_c, more.dshift_c);
  check(unlocked(work_of(layer), [&] { return tg_generic_backward(&layer, &given, &io, &more); }));
}

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false); /* a model that lives until the interpreter's end is no leak */
  nb::exception<NoIsa>(m, "NoIsa", PyExc_RuntimeError);
  nb::class_<Packed>(m, "Packed").def(nb::init<nb::handle>()).def(nb::init<int, int64_t, int64_t, nb::list>());
  nb::class_<PackedLinear>(m, "PackedLinear")
      .def(nb::init<int, int64_t, int64_t, uintptr_t, uintptr_t>())
      .def(nb::init<int64_t, int64_t, uintptr_t, uintptr_t, uintptr_t, int, int, int>());
  nb::class_<Stack>(m, "Stack")
      .def(nb::init<nb::list, int64_t, uintptr_t, nb::handle>(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none())
      .def("step_x", [](const Stack &stack, uintptr_t h, uintptr_t c, uintptr_t y, uintptr_t x) { stack.step(x, -1, h, c, y); })
      .def("step_code", [](const Stack &stack, uintptr_t h, uintptr_t c, uintptr_t y, int64_t code) { stack.step(0, code, h, c, y); });
  nb::class_<Stepper>(m, "Stepper")
      .def(nb::init<const Stack &, nb::object, uintptr_t, uintptr_t, int, int64_t, int64_t, nb::object, nb::object>(), nb::keep_alive<1, 2>())
      .def("step", &Stepper::step, nb::arg("x").none(), nb::arg("out").none() = nb::none())
      .def_prop_ro("state", [](const Stepper &own) { return own.state(); })
      .def_prop_rw("steps", &Stepper::steps, &Stepper::set_steps);
  m.def("step_many", &step_many);
  m.def("step_rows", &step_rows);
  m.def("reserve_bytes", [](nb::handle call) {
    const tg_layer layer = layer_of(call);
    return tg_reserve_bytes(&layer);
  });
  m.def("read_tensors", [](nb::handle capsule, nb::handle tensor, nb::handle parameter) {
    return tg_tensors::read_through(capsule.ptr(), tensor.ptr(), parameter.ptr());
  });
  m.def("layer_call", [](nb::handle given) { return nb::steal(tg_tensors::layer_call(given.ptr())); });
  m.def("forward", &forward);
  m.def("forward_packed", &forward_packed);
  m.def("backward", &backward);
  m.def("generic_reserve_bytes", [](nb::handle call, nb::handle extras) {
    const tg_layer layer = layer_of(call);
    const tg_extras more = extras_of(extras, layer.directions);
    return tg_generic_reserve_bytes(&layer, &more);
  });
  m.def("generic_forward", &generic_forward);
  m.def("generic_backward", &generic_backward);
  m.def("linear", [](int64_t rows, uintptr_t x, int64_t x_row, const PackedLinear &packed, uintptr_t y, int64_t y_row) {
    check(unlocked(double(rows) * packed.size(), [&] { return tg_linear_packed(rows, pointer(x), x_row, packed.get(), pointer<void *>(y), y_row); }));
  });
  m.def("softmax", [](int dtype, int64_t rows, int64_t k, uintptr_t lengths, uintptr_t x, uintptr_t y) {
    check(unlocked(each_number * double(rows) * double(k),
                   [&] { return tg_softmax(dtype, rows, k, pointer<const int64_t *>(lengths), pointer(x), pointer<void *>(y)); }));
  });
  m.def("norm", [](int dtype, int64_t rows, int64_t k, uintptr_t x, uintptr_t gain, uintptr_t bias, double eps, uintptr_t y) {
    check(unlocked(each_number * double(rows) * double(k),
                   [&] { return tg_norm(dtype, rows, k, pointer(x), pointer(gain), pointer(bias), eps, pointer<void *>(y)); }));
  });
  m.def("pool", [](int dtype, int how, int64_t b, int64_t t, int64_t c, uintptr_t lengths, uintptr_t x, uintptr_t y) {
    check(unlocked(each_number * double(b) * double(t) * double(c),
                   [&] { return tg_pool(dtype, how, b, t, c, pointer<const int64_t *>(lengths), pointer(x), pointer<void *>(y)); }));
  });
  m.def("weigh", [](int dtype, int64_t b, int64_t t, int64_t c, uintptr_t lengths, uintptr_t w, uintptr_t x, uintptr_t y) {
    check(unlocked(double(b) * double(t) * double(c),
                   [&] { return tg_weigh(dtype, b, t, c, pointer<const int64_t *>(lengths), pointer(w), pointer(x), pointer<void *>(y)); }));
  });
  m.def("crf", [](int dtype, int64_t b, int64_t t, int64_t k, uintptr_t lengths, uintptr_t scores, uintptr_t transitions, uintptr_t start,
                  uintptr_t end, uintptr_t log_partition, uintptr_t marginals, uintptr_t pairs) {
    const tg_crf call = {dtype, b, t, k, pointer<const int64_t *>(lengths), pointer(scores), pointer(transitions), pointer(start), pointer(end),
                         pointer<void *>(log_partition), pointer<void *>(marginals), pointer<void *>(pairs)};
    check(unlocked(double(b) * double(t) * double(k) * double(k), [&] { return tg_crf_run(&call); }));
  });
  m.def("draw", [](int64_t n, uintptr_t forbidden, double temperature, uintptr_t work, nb::handle logits, double u) {
    const Dense given(logits, "logits", n);
    int64_t code = -1;
    check(tg_draw(given.dtype(), n, given.data(), pointer<const uint8_t *>(forbidden), temperature, u, pointer<double *>(work), &code));
    return code;
  });
  m.def("apply", [](int dtype, int function, int64_t n, uintptr_t x, uintptr_t y) {
    check(unlocked(each_number * double(n), [&] { return tg_apply(dtype, function, n, pointer(x), pointer<void *>(y)); }));
  });
  m.def("set_num_threads", [](int32_t threads) { check(tg_set_num_threads(threads)); });
  m.def("get_num_threads", &tg_get_num_threads);
  m.def("use_openmp", [](uintptr_t parallel, uintptr_t team_size, uintptr_t rank) {
    tg_use_openmp(reinterpret_cast<tg_parallel>(parallel), reinterpret_cast<tg_query>(team_size), reinterpret_cast<tg_query>(rank));
  });
  m.def("isa", [] {
    const std::string name = tg_isa();
    if (name.empty()) check(TG_NO_ISA);
    return name;
  });
  m.def("isas", [] { return std::string(tg_isas()); });
  m.def("set_isa", [](const std::string &name) { check(tg_set_isa(name.empty() ? nullptr : name.c_str())); });
  m.def("peak", [](int32_t threads, double seconds) {
    nb::gil_scoped_release release;
    return tg_peak(threads, seconds);
  });
}
