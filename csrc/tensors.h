/* A layer of torch tensors as the core's arguments, read in one go. In: operator.Inputs. Out: native.LayerCall, or None.
 *
 * Between two products a step of Python finds its code fallen out of the caches, and reading ten tensors there costs as much as the
 * arithmetic of a small net. Tensors are read through DLPack's table of C functions (DLPack 1.x, `__dlpack_c_exchange_api__`). None
 * is for everything out of the ordinary: operator.py then reads the tensors itself, mends what can be mended and has the sentences
 * for what cannot. */
#ifndef TIDEGATE_TENSORS_H
#define TIDEGATE_TENSORS_H

#include <Python.h>

#include <initializer_list>

#include "tidegate.h"

namespace tg_tensors {

/* As DLPack 1.x lays them out. */
struct View {
  void *data;
  int32_t device_type, device_id, dims;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
  char *at() const { return data ? static_cast<char *>(data) + byte_offset : nullptr; }
};

struct Table {
  uint32_t major, minor;
  void *older, *allocate, *to_managed, *from_managed;
  int (*view)(void *tensor, View *out);
  void *stream;
};

constexpr int32_t on_cpu = 1;
constexpr uint8_t whole_numbers = 0, floats = 2;

struct Reader {
  const Table *table = nullptr;
  PyObject *kinds[2] = {nullptr, nullptr}; /* the classes of plain tensors; held for ever */
  PyObject *is_neg = nullptr;
};

inline Reader &reader() {
  static Reader one;
  return one;
}

/* capsule: the table; tensor, parameter: the classes whose instances it reads. False: a table of another version. */
inline bool read_through(PyObject *capsule, PyObject *tensor, PyObject *parameter) {
  const auto *table = static_cast<const Table *>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
  if (!table) PyErr_Clear();
  if (!table || table->major != 1 || !table->view) return false;
  Py_INCREF(tensor);
  Py_INCREF(parameter);
  reader() = {table, {tensor, parameter}, PyUnicode_InternFromString("is_neg")};
  return true;
}

inline bool dense(const View &v) {
  int64_t step = 1;
  for (int32_t k = v.dims - 1; k >= 0; --k) {
    if (v.shape[k] == 0) return true;
    if (v.shape[k] != 1 && v.strides[k] != step) return false;
    step *= v.shape[k];
  }
  return true;
}

inline bool has_shape(const View &v, std::initializer_list<int64_t> shape) {
  if (v.dims != int32_t(shape.size())) return false;
  const int64_t *given = v.shape;
  for (int64_t extent : shape)
    if (*given++ != extent) return false;
  return true;
}

/* False: not a plain tensor of numbers that stand in memory as they are; no exception is left. */
inline bool look(PyObject *tensor, View *out) {
  const Reader &r = reader();
  PyObject *kind = reinterpret_cast<PyObject *>(Py_TYPE(tensor));
  if (kind != r.kinds[0] && kind != r.kinds[1]) return false;
  PyObject *negated = PyObject_CallMethodNoArgs(tensor, r.is_neg); /* a view whose sign is turned when it is read */
  const bool plain = negated == Py_False;
  Py_XDECREF(negated);
  if (!plain || r.table->view(tensor, out)) {
    PyErr_Clear();
    return false;
  }
  int64_t count = 1;
  for (int32_t k = 0; k < out->dims; ++k) count *= out->shape[k];
  if (count && !out->data) return false; /* its memory was freed, or never was: address 0 would mean "not given" */
  return out->device_type == on_cpu && out->lanes == 1 && (out->strides || !out->dims);
}

/* Address of an optional dense tensor of this shape and of x's dtype; `fits` becomes false for any other. */
inline const char *optional(PyObject *tensor, const View &x, std::initializer_list<int64_t> shape, bool *fits) {
  View v;
  if (tensor == Py_None || !*fits) return nullptr;
  *fits = look(tensor, &v) && v.code == x.code && v.bits == x.bits && has_shape(v, shape) && dense(v);
  return *fits ? v.at() : nullptr;
}

struct Cell {
  const char *name;
  long code;
  int64_t gates;
};
constexpr Cell cells[] = {{"rnn_tanh", TG_RNN_TANH, 1}, {"rnn_relu", TG_RNN_RELU, 1}, {"lstm", TG_LSTM, 4}, {"gru", TG_GRU, 3}};

/* Fields of operator.Inputs. */
enum { CELL, X, LENGTHS, H0, C0, WEIGHTS, ZONE_H, ZONE_C, DROP_H, TOTAL, BATCH_FIRST, RECOMPUTE, BATCH_SIZES, PACKED_BATCH, FIELDS };

struct Sizes {
  int64_t batch, steps, input, hidden;
  int directions, each; /* weights of a direction */
};

/* Addresses of the weights, 4 a direction, 0 for a bias that is not there. */
inline bool read_weights(PyObject *weights, const View &x, const Cell &cell, Sizes *s, const char **at) {
  const Py_ssize_t count = PyTuple_GET_SIZE(weights);
  View v;
  if ((count != 2 && count != 4 && count != 8) || !look(PyTuple_GET_ITEM(weights, 1), &v) || v.dims != 2) return false;
  s->hidden = v.shape[1];
  if (count > 2 && !look(PyTuple_GET_ITEM(weights, 2), &v)) return false;
  s->each = v.dims == 2 ? 2 : 4; /* the third is the other direction's first, or a bias */
  if (s->each == 2 && count == 8) return false;
  s->directions = int(count) / s->each;
  const int64_t gates = cell.gates * s->hidden;
  bool fits = true;
  for (Py_ssize_t k = 0; k < count; ++k) {
    PyObject *weight = PyTuple_GET_ITEM(weights, k);
    const Py_ssize_t part = k % s->each, slot = k / s->each * 4 + part;
    if (part < 2)
      at[slot] = optional(weight, x, {gates, part == 0 ? s->input : s->hidden}, &fits);
    else
      at[slot] = optional(weight, x, {gates}, &fits);
    if (!fits || weight == Py_None) return false;
  }
  return true;
}

inline bool whole_dense(const View &v, int64_t extent) { return v.code == whole_numbers && v.bits == 64 && has_shape(v, {extent}) && dense(v); }

/* lengths and batch_sizes: addresses, the number of steps of a packed x, and that `total` is enough. */
inline bool read_extent(PyObject *given, const View &x, int64_t total, Sizes *s, const char **lengths, const char **batch_sizes) {
  PyObject *held = PyTuple_GET_ITEM(given, LENGTHS), *sizes = PyTuple_GET_ITEM(given, BATCH_SIZES);
  View v;
  if (sizes != Py_None) {
    if (held != Py_None || x.dims != 2 || total != x.shape[0] || !look(sizes, &v) || v.dims != 1 || !whole_dense(v, v.shape[0])) return false;
    const auto *rows = reinterpret_cast<const int64_t *>(v.at());
    s->batch = PyLong_AsLongLong(PyTuple_GET_ITEM(given, PACKED_BATCH));
    s->steps = v.shape[0];
    int64_t left = x.shape[0];
    for (int64_t t = 0; t < s->steps; ++t) {
      if (rows[t] < 0 || rows[t] > left) return false;
      left -= rows[t];
    }
    *batch_sizes = v.at();
    return left == 0;
  }
  if (x.dims != 3) return false;
  const bool first = PyTuple_GET_ITEM(given, BATCH_FIRST) == Py_True;
  s->batch = x.shape[first ? 0 : 1];
  s->steps = x.shape[first ? 1 : 0];
  if (held == Py_None) return total >= s->batch * s->steps;
  if (!look(held, &v) || !whole_dense(v, s->batch)) return false;
  *lengths = v.at();
  return true;
}

/* A new reference: the fields of native.LayerCall, or None. */
inline PyObject *layer_call(PyObject *given) {
  View x, zone;
  if (!reader().table || !PyTuple_Check(given) || PyTuple_GET_SIZE(given) != FIELDS || !look(PyTuple_GET_ITEM(given, X), &x)) Py_RETURN_NONE;
  PyObject *weights = PyTuple_GET_ITEM(given, WEIGHTS), *name = PyTuple_GET_ITEM(given, CELL);
  const Cell *cell = nullptr;
  for (const Cell &known : cells)
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, known.name) == 0) cell = &known;
  if (!cell || x.code != floats || (x.bits != 32 && x.bits != 64) || x.dims < 2 || !PyTuple_Check(weights)) Py_RETURN_NONE;
  Sizes s = {};
  s.input = x.shape[x.dims - 1];
  if (s.input > 1 && x.strides[x.dims - 1] != 1) Py_RETURN_NONE;
  const char *w[8] = {}, *lengths = nullptr, *batch_sizes = nullptr;
  const long long total = PyLong_AsLongLong(PyTuple_GET_ITEM(given, TOTAL));
  const bool fit = !PyErr_Occurred() && read_weights(weights, x, *cell, &s, w) && read_extent(given, x, total, &s, &lengths, &batch_sizes);
  if (PyErr_Occurred()) PyErr_Clear();
  if (!fit) Py_RETURN_NONE;
  const int64_t d = s.directions;
  bool fits = true;
  const char *h0 = optional(PyTuple_GET_ITEM(given, H0), x, {d, s.batch, s.hidden}, &fits);
  const char *c0 = optional(PyTuple_GET_ITEM(given, C0), x, {d, s.batch, s.hidden}, &fits);
  const char *drop = optional(PyTuple_GET_ITEM(given, DROP_H), x, {d, s.batch, s.hidden}, &fits);
  int64_t zone_steps = s.steps;
  const char *zones[2] = {};
  for (int k = 0; k < 2 && fits; ++k) {
    PyObject *mask = PyTuple_GET_ITEM(given, ZONE_H + k);
    if (mask == Py_None) continue;
    fits = look(mask, &zone) && zone.dims == 4;
    if (fits && (k == 0 || !zones[0])) zone_steps = zone.shape[1] == 1 ? 1 : s.steps;
    zones[k] = optional(mask, x, {d, zone_steps, s.batch, s.hidden}, &fits);
  }
  if (!fits) Py_RETURN_NONE;
  const bool packed = x.dims == 2, first = PyTuple_GET_ITEM(given, BATCH_FIRST) == Py_True;
  const int64_t x_batch = x.strides[packed || first ? 0 : 1], x_step = packed ? 0 : x.strides[first ? 1 : 0];
  const auto n = [](const void *address) { return reinterpret_cast<uintptr_t>(address); };
  using wide = long long;
  PyObject *held = d == 1 ? Py_BuildValue("(KKKK)", n(w[0]), n(w[1]), n(w[2]), n(w[3]))
                          : Py_BuildValue("(KKKKKKKK)", n(w[0]), n(w[1]), n(w[2]), n(w[3]), n(w[4]), n(w[5]), n(w[6]), n(w[7]));
  if (!held) return nullptr;
  return Py_BuildValue("(iiiiLLLLKKLLNKKKKLKK)", int(cell->code), x.bits == 64, int(d), int(PyTuple_GET_ITEM(given, RECOMPUTE) == Py_True),
                       wide(s.batch), wide(s.steps), wide(s.input), wide(s.hidden), n(lengths), n(x.at()), wide(x_batch), wide(x_step), held,
                       n(h0), n(c0), n(zones[0]), n(zones[1]), wide(zone_steps), n(drop), n(batch_sizes));
}

}  // namespace tg_tensors
#endif
