/* What the parts of the core share: the shape of a call in memory, its plan and its barriers. No templates of the standard library
 * and no inline functions with linkage: files compiled for different instruction sets include this one. */
#ifndef TIDEGATE_CORE_H
#define TIDEGATE_CORE_H

#include "tidegate.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sched.h>

namespace tg {

/* Sizes in elements. A unit block is one vector of units; padded lanes hold zeros. */
struct Layout {
  int64_t lanes, blocks; /* blocks of `lanes` units that hold H */
  int64_t kept, gates;   /* vectors of a block that are kept; those that one product makes */
  int64_t h_row;         /* blocks * lanes */
  int64_t kept_row;      /* blocks * kept * lanes */
  int64_t gate_rows;     /* blocks * gates * lanes: rows of a weight matrix, padded */
  int64_t x_vectors, x_row; /* vectors that hold I; stride of x in scratch, one vector longer so that rows do not share cache sets */
  int64_t hs_row, d_row;    /* h_row and kept_row, one vector longer for the same reason */
  int64_t block_rows;       /* rows of time and batch that are walked between two products with x */
};

/* Rows of the batch that one team walks, longest first, so that the active rows only shrink. */
struct Group {
  int64_t rows, steps, total;  /* steps of the longest row; total of the lengths */
  int64_t before;              /* totals of the groups before */
  const int64_t *order;        /* [rows] places in the batch */
  const int64_t *active;       /* [steps + 1] rows longer than t */
  const int64_t *offset;       /* [steps + 1] active rows before t */
};

struct Barrier {
  int arrived, phase;
};

/* One turn of a wait: a pause, and the processor for others after some 20 us, more than a wait takes unless the machine is busy. */
static inline void rest(int spins) {
#if defined(__x86_64__)
  _mm_pause();
#endif
  if (spins > 2000) sched_yield();
}

/* Threads 0..size-1 meet. */
static inline void meet(Barrier *barrier, int size) {
  if (size == 1) return;
  const int phase = __atomic_load_n(&barrier->phase, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == size) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&barrier->phase, phase + 1, __ATOMIC_RELEASE);
    return;
  }
  for (int spins = 0; __atomic_load_n(&barrier->phase, __ATOMIC_ACQUIRE) == phase; ++spins) rest(spins);
}

/* Work that threads take piece by piece. A thread that wakes late finds nothing left, and nobody waits for it: waking one takes as
 * long as a short sequence. */
struct Phase {
  int next, done;
};

/* Runs f(piece) once for each piece, on whichever threads are here; returns when all are done. */
template <class F> static inline void in_pieces(Phase *phase, int pieces, F f) {
  for (int piece; (piece = __atomic_fetch_add(&phase->next, 1, __ATOMIC_RELAXED)) < pieces;) {
    f(piece);
    __atomic_add_fetch(&phase->done, 1, __ATOMIC_RELEASE);
  }
  for (int spins = 0; __atomic_load_n(&phase->done, __ATOMIC_ACQUIRE) < pieces; ++spins) rest(spins);
}

constexpr int max_threads = 256;

/* Weights of one direction as the kernels read them; NULL where not needed. */
struct Weights {
  void *x_panels, *h_panels; /* forward: [panel][K][width * lanes] */
  void *start;               /* [kept_row] biases, where sums start */
  void *dh_panels, *dx_panels; /* backward: [panel of columns][gate row][width * lanes] */
};

/* One call, complete. A team is a group of rows in one direction; its threads split the units and meet once a step. */
struct Job {
  tg_layer layer;
  tg_outputs out;
  tg_gradients grad;
  Layout layout;
  const Group *groups;
  int group_count, team_count, team_size, threads;
  bool keep;              /* forward: fill the reserve */
  bool packed;            /* the weights are laid out already */
  Weights weights[2];
  const int64_t *starts;  /* [T] where each step's rows start in packed arrays; NULL: not packed */
  char **scratch;         /* [team] bytes of the team's own */
  char *reserve;          /* [D * total rows]; NULL: none */
  int64_t total;          /* sum of all lengths */
  void *dx_other;         /* [B,T,I] of the backward direction, summed at the end */
  Barrier *team_barriers;
  Phase packing, teams, sums; /* zero before the call */
};

/* The generic loop, for what the fused one does not do: a step is a program over slots, written in generic_program.h. */

/* One vector for each row of each step: `parts` vectors of `size` numbers, each padded to whole registers. Slot 0 is x. */
struct Slot {
  int64_t size, parts, part_row, row;
  bool state; /* carried from step to step */
};
/* Some parts of a slot; before: as a state was before the step. */
struct View {
  int slot, part, parts, before;
};
enum Param { weight_ih, weight_hh, weight_hr, bias_ih, bias_hh, gain_ih, gain_hh, gain_c, shift_c, param_count, no_param = -1 };
enum Op { op_product, op_norm, op_rnn_tanh, op_rnn_relu, op_lstm_gates, op_lstm_output, op_gru_after, op_gru_reset, op_gru_blend };
constexpr int most_slots = 16, most_instructions = 16, most_views = 6;
struct Instruction {
  Op op;
  int view_count, adds; /* adds: to what `out` holds */
  View views[most_views];
  int64_t row;          /* of the parameters, where the instruction's begin */
  Param bias[2], weight, gain, shift;
};
struct Program {
  Slot slots[most_slots];
  Instruction list[most_instructions];
  int slot_count, count, over_time; /* the first `over_time` instructions need x alone */
  int h, c;                         /* slots of the states; c: -1 where there is none */
};

/* What an instruction reads of its parameters, laid out: a product's panels and start, a norm's gain and shift. */
struct Prepared {
  void *forward, *start, *backward;
};
struct GenericJob {
  Job job; /* its layout, teams' barriers and weights are unused */
  Program program;
  double eps;
  int64_t block_rows;
  const void *params[param_count][2];
  void *dparams[param_count][2];
  Prepared prepared[2][most_instructions];
};

/* Arrays start on cache lines. */
static inline int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Layers one above the other in one direction, for single steps. */
struct StepLayer {
  int32_t cell;
  int64_t input_size, hidden_size, blocks, h_row, kept_row;
  Weights weights; /* start, x_panels, h_panels */
};
struct Stack {
  int32_t dtype, count;
  const StepLayer *layers;
  int64_t codes, embedding; /* rows and length of an embedding's vectors; 0: the stack reads x */
  const void *vectors;      /* [codes, embedding], or NULL where `sums` stands for them */
  const void *sums;         /* [codes, kept_row of the first layer]: biases and products with each code's vector */
  int64_t outputs;          /* of a linear layer on the last state; 0: none */
  const void *linear;       /* as pack_linear laid it out */
};
inline int64_t step_work(const Stack &s) { return (2 + s.count) * s.layers[0].h_row; } /* numbers of a step's own memory */

/* Int8 weights [rows, size] laid out for int8.h; rows: each gate's units padded to 16. */
struct Product8 {
  int64_t rows, size, row; /* row: size padded to 32 */
  bool dotted;             /* the processor multiplies bytes four at a time */
  int8_t *weights;
  int32_t *low, *scale, *bias; /* [rows] -8192 times a row's sum; what takes its products to whole units, 2^shift times; biases */
};
struct Layer8 {
  int32_t cell, shift, x_exponent;
  int64_t input_size, hidden_size, unit_row;
  Product8 x, h;
};
struct Linear8 {
  int32_t shift, x_exponent, y_exponent;
  int64_t outputs;
  Product8 product;
};

/* Doubles of work that a conditional random field needs. */
inline int64_t crf_work(int64_t t, int64_t k) { return 3 * k * k + 2 * t * k + 4 * k; }

/* One build of the kernels. */
struct Kernels {
  const char *name;
  int lanes[2]; /* of TG_F32, TG_F64 */
  void (*forward)(Job *, int rank);
  void (*backward)(Job *, int rank);
  void (*pack)(Job *); /* the forward's weights alone */
  int64_t (*scratch_bytes)(const Job &, const Group &, bool backward);
  void (*pack_linear)(int dtype, int64_t n, int64_t k, const void *w, const void *b, void *packed); /* N rounded up to lanes, * (K + 1) */
  void (*linear)(int dtype, int64_t m, int64_t n, int64_t k, const void *x, int64_t x_row, const void *packed, void *y, int64_t y_row);
  void (*softmax)(int dtype, int64_t m, int64_t k, const int64_t *lengths, const void *x, void *y);
  void (*norm)(int dtype, int64_t m, int64_t k, const void *x, const void *gain, const void *bias, double eps, void *y);
  void (*pool)(int dtype, int pooling, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *x, void *y);
  void (*weigh)(int dtype, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *w, const void *x, void *y);
  void (*apply)(int dtype, int function, int64_t n, const void *x, void *y);
  void (*crf)(const tg_crf &call, double *work);
  /* x NULL: the input is `code`. h, c [count, H] are stepped in place; y [outputs], or [H] without a linear layer. */
  void (*step)(const Stack &stack, const void *x, int64_t code, void *h, void *c, void *y, void *work);
  void (*step_sums)(int dtype, const StepLayer &layer, const void *x, void *to); /* [kept_row] biases and the product with x */
  double (*peak)(int64_t rounds); /* operations of `rounds` rounds of independent fused multiply-adds */
  void (*generic_forward)(GenericJob *, int rank);
  void (*generic_backward)(GenericJob *, int rank);
  int64_t (*generic_scratch_bytes)(const GenericJob &, const Group &, bool backward);
  void (*pack8)(const Product8 &to, const int8_t *w, int64_t gates, int64_t units);
  int64_t (*work8)(const Layer8 &); /* bytes */
  int64_t (*linear_work8)(const Linear8 &);
  void (*forward8)(const Layer8 &, int64_t steps, const float *x, int64_t x_step, float *h, float *c, float *y, int64_t y_step, char *work);
  void (*linear8)(const Linear8 &, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row, char *work);
};

}  // namespace tg
#endif
