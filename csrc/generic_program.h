/* The cells of the generic loop as programs: one small function a cell. In: a layer and its extras. Out: Program, plain data.
 *
 * A program has two stretches: what x alone decides, run over a block of time at once, and the step. Its instructions are
 *   product  in, out         out = biases + W in, or out += W in
 *   norm     in, out, stats  out = gain * (in - mean) / sqrt(variance + eps) + shift, or out += the same; stats: mean, 1 / sqrt(.)
 *   a piece  its operands    pointwise, from cell.h
 * Gates are made in place: a slot holds a sum, then its sigmoid or tanh; its gradient is that of the sum throughout. */
#ifndef TIDEGATE_GENERIC_PROGRAM_H
#define TIDEGATE_GENERIC_PROGRAM_H

#include <initializer_list>

#include "core.h"

namespace tg {
namespace {

/* Writes programs. */
class Writer {
 public:
  Writer(const tg_layer &layer, const tg_extras &extras, int lanes_, Program *to)
      : hidden(layer.hidden_size), lanes(lanes_), norm(extras.layer_norm != 0), p(*to) {
    x = slot(layer.input_size, 1, false);
    h = slot(extras.proj_size ? extras.proj_size : hidden, 1, true);
    p.h = h.slot;
    p.c = -1;
  }

  View slot(int64_t size, int parts, bool state) {
    Slot &s = p.slots[p.slot_count];
    s = {size, parts, (size + lanes - 1) / lanes * lanes, 0, state};
    s.row = s.part_row * parts;
    if (s.row % (8 * lanes) == 0) s.row += lanes; /* rows that are whole numbers of 512 bytes share cache sets */
    return {p.slot_count++, 0, parts, 0};
  }
  View gates(int parts) { return slot(hidden, parts, false); }
  static View part(View v, int first, int parts = 1) { return {v.slot, v.part + first, parts, v.before}; }
  static View before(View state) { return {state.slot, state.part, state.parts, 1}; }

  Instruction &add(Op op, std::initializer_list<View> views) {
    Instruction &made = p.list[p.count++];
    made = {op, 0, 0, {}, 0, {no_param, no_param}, no_param, no_param, no_param};
    for (const View &v : views) made.views[made.view_count++] = v;
    return made;
  }

  /* sum = or += W in over rows [row, row + parts * H) of the weights of x or of h, through a norm where the layer has them. The
   * norm's shift is the bias. `raw` is where the product stands that the norm reads. */
  void enter(View in, View sum, View raw, bool of_x, bool adds, int64_t first_gate, std::initializer_list<Param> biases) {
    const int64_t row = first_gate * hidden;
    Instruction &product = add(op_product, {in, norm ? raw : sum});
    product.weight = of_x ? weight_ih : weight_hh;
    product.row = row;
    product.adds = adds && !norm;
    int count = 0;
    for (Param bias : biases)
      if (!norm) product.bias[count++] = bias;
    if (norm) normalise(raw, sum, of_x ? gain_ih : gain_hh, of_x ? bias_ih : bias_hh, row, adds);
  }
  void normalise(View from, View to, Param gain, Param shift, int64_t row, bool adds) {
    Instruction &made = add(op_norm, {from, to, slot(2, 1, false)});
    made.gain = gain;
    made.shift = shift;
    made.row = row;
    made.adds = adds;
  }
  /* From here on the instructions are those of a step. */
  void step() { p.over_time = p.count; }

  const int64_t hidden;
  const int lanes;
  const bool norm;
  View x, h;
  Program &p;
};

/* LN (Ba, Kiros & Hinton 2016, supplementary material) stands around each product; its shift is the bias, so the paper's further
 * bias would add nothing. Without it a sum starts from both biases. */
inline void rnn_program(Writer &w, Op piece) {
  const View sum = w.gates(1), of_x = w.norm ? w.gates(1) : sum, of_h = w.norm ? w.gates(1) : sum;
  w.enter(w.x, sum, of_x, true, false, 0, {bias_ih, bias_hh});
  w.step();
  w.enter(Writer::before(w.h), sum, of_h, false, true, 0, {});
  w.add(piece, {sum, w.h});
}

inline void lstm_program(Writer &w, bool projected) {
  const View sum = w.gates(4), of_x = w.norm ? w.gates(4) : sum, of_h = w.norm ? w.gates(4) : sum;
  const View c = w.slot(w.hidden, 1, true), normed_c = w.norm ? w.gates(1) : c, cell_output = projected ? w.gates(1) : w.h;
  w.p.c = c.slot;
  w.enter(w.x, sum, of_x, true, false, 0, {bias_ih, bias_hh});
  w.step();
  w.enter(Writer::before(w.h), sum, of_h, false, true, 0, {});
  w.add(op_lstm_gates, {sum, Writer::before(c), c});
  if (w.norm) w.normalise(c, normed_c, gain_c, shift_c, 0, false);
  w.add(op_lstm_output, {sum, normed_c, cell_output});
  if (projected) w.add(op_product, {cell_output, w.h}).weight = weight_hr;
}

/* Gates r and z share a norm, the candidate has its own (the same source). Parts r, z, n. */
inline void gru_program(Writer &w, bool reset_before) {
  const View sum = w.gates(3), of_x = w.norm ? w.gates(3) : sum, of_h = w.norm ? w.gates(3) : sum, h = Writer::before(w.h);
  const View r_z = Writer::part(sum, 0, 2), n = Writer::part(sum, 2), r_of_h = Writer::part(of_h, 0, 2), n_of_h = Writer::part(of_h, 2);
  const View s = w.gates(1); /* r h, or the candidate's product with h */
  w.enter(w.x, r_z, Writer::part(of_x, 0, 2), true, false, 0, {bias_ih, bias_hh});
  if (reset_before) w.enter(w.x, n, Writer::part(of_x, 2), true, false, 2, {bias_ih, bias_hh});
  else w.enter(w.x, n, Writer::part(of_x, 2), true, false, 2, {bias_ih});
  w.step();
  w.enter(h, r_z, r_of_h, false, true, 0, {});
  if (reset_before) {
    w.add(op_gru_reset, {r_z, h, s});
    w.enter(s, n, n_of_h, false, true, 2, {});
    w.add(op_gru_blend, {n, Writer::part(sum, 1), h, w.h});
  } else {
    w.enter(h, s, n_of_h, false, false, 2, {bias_hh});
    w.add(op_gru_after, {n, r_z, s, h, w.h});
  }
}

inline Program program_of(const tg_layer &layer, const tg_extras &extras, int lanes) {
  Program p = {};
  Writer w(layer, extras, lanes, &p);
  switch (layer.cell) {
    case TG_RNN_TANH: rnn_program(w, op_rnn_tanh); break;
    case TG_RNN_RELU: rnn_program(w, op_rnn_relu); break;
    case TG_LSTM: lstm_program(w, extras.proj_size > 0); break;
    default: gru_program(w, extras.reset_before != 0);
  }
  return p;
}

}  // namespace
}  // namespace tg
#endif
