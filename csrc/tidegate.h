/* The C interface of Tidegate's recurrent core. C99 and C++.
 *
 * Letters: B batch, T time, I input, H hidden, G gates * H, D directions (1 or 2).
 * Arrays are row-major and contiguous unless strides are named; strides count elements. `real` is float where dtype is TG_F32,
 * double where it is TG_F64. Inputs are read only and may alias each other; an output aliases nothing else of the call.
 * The caller owns every array. Nothing is kept after a call but the pool's threads and scratch memory.
 * No function throws. A status other than TG_OK means that the contents of the outputs are undefined; tg_message() says why.
 * Every function may be called from several threads at once.
 *
 * Rows: x is padded on the right. A row of length 0 is legal and returns its initial state; outputs past a row's length are 0,
 * and what x holds there is not read. The backward direction starts at each row's last valid step.
 *
 * Same bits (forward): each product is summed from the bias over k = 0..K-1 of x, then of h, in one chain of fused
 * multiply-adds (baseline: multiply, then add), so a row's values do not depend on the batch, the cutting of time or the threads. */
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tg_status {
  TG_OK = 0,
  TG_BAD_ARGUMENT = 1, /* a size, an enum or a pointer is out of its range */
  TG_NO_MEMORY = 2,    /* scratch memory could not be had; nothing leaks */
  TG_NO_ISA = 3        /* TIDEGATE_ISA names a build that is missing here or that this processor cannot run */
} tg_status;

typedef enum tg_cell { TG_RNN_TANH = 0, TG_RNN_RELU = 1, TG_LSTM = 2, TG_GRU = 3 } tg_cell; /* GRU: reset after the product */
typedef enum tg_dtype { TG_F32 = 0, TG_F64 = 1 } tg_dtype;

/* One layer in D directions over a padded batch. Gate order i,f,g,o and r,z,n, as PyTorch's. */
typedef struct tg_layer {
  int32_t cell, dtype;
  int32_t directions;             /* 1 or 2 */
  int32_t recompute;              /* keep only the states for backward and rebuild the gates there */
  int64_t batch, steps;           /* B >= 0, T >= 0 */
  int64_t input_size, hidden_size; /* I >= 0, H >= 1 */
  const int64_t *lengths;         /* [B] 0 <= length <= T, or NULL: every row has T steps */
  const void *x;                  /* real [B,T,I] with strides x_batch, x_step, 1 */
  int64_t x_batch, x_step;
  const void *weight_ih[2];       /* real [G,I] one a direction */
  const void *weight_hh[2];       /* real [G,H] */
  const void *bias_ih[2];         /* real [G], or NULL: zero */
  const void *bias_hh[2];
  const void *h0, *c0;            /* real [D,B,H], or NULL: zero; c0 of the LSTM alone */
  const void *zone_h, *zone_c;    /* real [D,Z,B,H] in [0,1], or NULL: the share of the old state that stays (zoneout) */
  int64_t zone_steps;             /* Z: T, or 1 for the same share at every step */
  const void *drop_h;             /* real [D,B,H], or NULL: factor of h where it enters weight_hh (variational dropout) */
  const int64_t *batch_sizes;     /* [T] >= 1, never rising from B, or NULL. Given, rows stand longest first, `lengths` is NULL, and x, y,
                                   * dy and dx are packed, [sum of batch_sizes, .]: step after step, each with the rows that reach it, as
                                   * PyTorch's PackedSequence; x_batch, y_batch, ... are strides of those rows, the others not read */
} tg_layer;

/* Outputs of the forward pass. */
typedef struct tg_outputs {
  void *y;                        /* real [B,T,D*H] with strides y_batch, y_step, 1 */
  int64_t y_batch, y_step;
  void *hn, *cn;                  /* real [D,B,H]; cn of the LSTM alone, else NULL */
  void *reserve;                  /* tg_reserve_bytes(), 64-byte aligned, for tg_backward; NULL: inference */
} tg_outputs;

/* Gradients: what comes in, what goes out. */
typedef struct tg_gradients {
  const void *y;                  /* the forward's y, unchanged, with its strides */
  int64_t y_batch, y_step;
  const void *reserve;            /* the forward's, read only: backward may run twice */
  const void *dy;                 /* real [B,T,D*H] with strides, or NULL: zero; not read past a row's length */
  int64_t dy_batch, dy_step;
  const void *dhn, *dcn;          /* real [D,B,H], or NULL: zero */
  void *dx;                       /* real [B,T,I] with strides, or NULL: not wanted; 0 past a row's length */
  int64_t dx_batch, dx_step;
  void *dh0, *dc0;                /* real [D,B,H], or NULL */
  void *dweight_ih[2], *dweight_hh[2], *dbias_ih[2], *dbias_hh[2]; /* as the weights, or NULL; overwritten */
} tg_gradients;

/* Bytes of `reserve` for this layer; they follow the sum of the lengths. */
size_t tg_reserve_bytes(const tg_layer *layer);

tg_status tg_forward(const tg_layer *layer, const tg_outputs *out);
tg_status tg_backward(const tg_layer *layer, const tg_gradients *io);

/* Weights of one layer laid out for the kernels, once, for many short calls. Read only; safe to share between threads. */
typedef struct tg_packed tg_packed;
tg_status tg_pack(const tg_layer *layer, tg_packed **packed); /* reads cell, dtype, directions, sizes, weights, biases */
/* The same in whole numbers: weights of 8 bits, inputs of 14, float32 arrays beside them. A sum of products is
 * (sum of w_ih q scale_ih + sum of w_hh h scale_hh) / 2^shift + bias_ih + bias_hh in units of 2^-16, q = x 2^x_exponent to the nearest within
 * 8191, h in units of 2^-13; the GRU's candidate has two such sums. Cells: csrc/fixed.h. States are rounded to 2^-16 and within 128.
 * Not TG_RNN_RELU. I and H at most 2064: a sum fits 32 bits. */
typedef struct tg_layer8 {
  int32_t cell, directions;
  int64_t input_size, hidden_size;
  const int8_t *weight_ih[2];                  /* [G,I] one a direction; at least -127 */
  const int8_t *weight_hh[2];                  /* [G,H] */
  const int32_t *scale_ih[2], *scale_hh[2];    /* [G] 0 to 2^30 */
  const int32_t *bias_ih[2], *bias_hh[2];      /* [G] at most 2^23 - 1 */
  int32_t shift[2], x_exponent[2];             /* 1 to 62; -16 to 30 */
} tg_layer8;
tg_status tg_pack8(const tg_layer8 *layer, tg_packed **packed);
void tg_unpack(tg_packed *packed);                            /* frees; NULL is allowed */
tg_status tg_forward_packed(const tg_layer *layer, const tg_packed *packed, const tg_outputs *out); /* weights not read */

/* Layers one above the other in one direction, for single steps of one row: the bits of tg_forward_packed, the cost of reading the
 * weights. Packed weights and `vectors` are borrowed: they stay until tg_free_stack. Read only; safe to share between threads. */
typedef struct tg_stack tg_stack;
typedef struct tg_packed_linear tg_packed_linear;
/* packed: `count` >= 1 layers of one direction, dtype and hidden size, each reading the one below. vectors: real [codes, I], an
 * embedding that the first layer reads, or NULL: it reads x. linear: of the last state, or NULL. */
tg_status tg_make_stack(int32_t count, const tg_packed *const *packed, int64_t codes, const void *vectors, const tg_packed_linear *linear,
                        tg_stack **stack);
void tg_free_stack(tg_stack *stack); /* NULL is allowed */
/* h, c real [count, H], stepped in place; c of the LSTM alone, else NULL. x real [I], or NULL for a stack of codes, 0 <= code < codes.
 * y real [H], or [N] of the linear layer. The state is untouched where the status is not TG_OK. */
tg_status tg_step(const tg_stack *stack, const void *x, int64_t code, void *h, void *c, void *y);

/* The same for `rows` rows, each with a state of its own, in one walk: the bits of tg_step for each. x real [rows, I] dense, or codes
 * [rows]. h, c: addresses of each row's state, all different. y real [rows, H] or [rows, N], dense. All states are untouched where the
 * status is not TG_OK. */
tg_status tg_step_rows(const tg_stack *stack, int64_t rows, const void *x, const int64_t *codes, void *const *h, void *const *c, void *y);

/* Layers that need more than one product and one pointwise phase a step; slower a step than the fused loop. Any cell runs here.
 * P = proj_size, or H without projection: then h0, hn, dhn, dh0 are [D,B,P], y and dy [B,T,D*P], weight_hh [G,P]; c is [D,B,H].
 * zone_h, zone_c, drop_h and batch_sizes must be NULL, recompute 0.
 * Layer norm: LN(W_ih x) + LN(W_hh h) with gains of their own and bias_ih, bias_hh as the shifts; over all gates of the RNNs and the
 * LSTM; the GRU's r and z together, its candidate alone; tanh(LN(c')) in the LSTM's output. (Ba, Kiros & Hinton 2016) */
typedef struct tg_extras {
  int32_t reset_before;           /* GRU: n = tanh(W x + b + U (r h) + b) (Cho et al. 2014); 0: reset after the product */
  int32_t layer_norm;
  int64_t proj_size;              /* LSTM: h' = W_hr (o tanh(c')), as torch.nn.LSTM(proj_size); 0: none */
  double eps;                     /* of the norms, > 0 */
  const void *weight_hr[2];       /* real [P,H] one a direction */
  const void *gain_ih[2], *gain_hh[2]; /* real [G], or NULL: one */
  const void *gain_c[2], *shift_c[2];  /* real [H] of the LSTM, or NULL: one, zero */
} tg_extras;
typedef struct tg_extra_gradients { /* as the parameters, or NULL; overwritten */
  void *dweight_hr[2], *dgain_ih[2], *dgain_hh[2], *dgain_c[2], *dshift_c[2];
} tg_extra_gradients;
size_t tg_generic_reserve_bytes(const tg_layer *layer, const tg_extras *extras);
/* Backward does not read io->y. */
tg_status tg_generic_forward(const tg_layer *layer, const tg_extras *extras, const tg_outputs *out);
tg_status tg_generic_backward(const tg_layer *layer, const tg_extras *extras, const tg_gradients *io, const tg_extra_gradients *more);

/* Primitives of the running half. Rows do not depend on each other; sums run over k = 0..K-1 in one chain. */

/* A linear layer laid out once: w [N,K], b [N] or NULL. */
tg_status tg_pack_linear(int32_t dtype, int64_t n, int64_t k, const void *w, const void *b, tg_packed_linear **packed);
/* The same in whole numbers: y = ((sum of w q scale) / 2^shift + bias) 2^-y_exponent, of float32 x; numbers as in tg_layer8. */
typedef struct tg_linear8 {
  int64_t n, k;
  const int8_t *weight;        /* [N,K] */
  const int32_t *scale, *bias; /* [N] */
  int32_t shift, x_exponent, y_exponent; /* y_exponent: -16 to 30 */
} tg_linear8;
tg_status tg_pack_linear8(const tg_linear8 *linear, tg_packed_linear **packed);
void tg_unpack_linear(tg_packed_linear *packed); /* frees; NULL is allowed */
/* y [M,N] = x [M,K] w^T + b. x_row, y_row: strides of rows. */
tg_status tg_linear_packed(int64_t m, const void *x, int64_t x_row, const tg_packed_linear *packed, void *y, int64_t y_row);
/* The same, laid out at every call. */
tg_status tg_linear(int32_t dtype, int64_t m, int64_t n, int64_t k, const void *x, int64_t x_row, const void *w, const void *b,
                    void *y, int64_t y_row);
/* y [M,K] = softmax over the first lengths[m] values of each row, 0 past them; lengths may be NULL. y may be x. */
tg_status tg_softmax(int32_t dtype, int64_t m, int64_t k, const int64_t *lengths, const void *x, void *y);
/* y [M,K] = (x - mean) / sqrt(variance + eps) * gain + bias, a row at a time. y may be x. */
tg_status tg_norm(int32_t dtype, int64_t m, int64_t k, const void *x, const void *gain, const void *bias, double eps, void *y);
/* y [B,C] over the first lengths[b] of T steps of x [B,T,C]: the mean or the maximum; 0 for rows of length 0. */
typedef enum tg_pooling { TG_MEAN = 0, TG_MAX = 1 } tg_pooling;
tg_status tg_pool(int32_t dtype, int32_t pooling, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *x, void *y);

/* The sum over time of x (b, t, c) times w (b, t): y (b, c), step after step from 0; 0 for rows of length 0. lengths as above. */
tg_status tg_weigh(int32_t dtype, int64_t b, int64_t t, int64_t c, const int64_t *lengths, const void *w, const void *x, void *y);
/* The code that a number u in [0, 1) draws from softmax(logits [N] / temperature), temperature > 0, without the codes whose byte of
 * `forbidden` [N] (or NULL) is not 0: the first whose cumulated probability exceeds u. In float64, in order; work [N] is overwritten.
 * *code = -1 where a logit is NaN or no code's logit is finite. */
tg_status tg_draw(int32_t dtype, int64_t n, const void *logits, const uint8_t *forbidden, double temperature, double u, double *work,
                  int64_t *code);
/* A linear-chain conditional random field over scores [B,T,K]; transitions [K,K], from row to column; start, end [K]. Every pointer is
 * dense; lengths NULL: every row is full. log_partition [B] out, 0 for rows of length 0. marginals [B,T,K] out, 0 past a row's
 * length, and pairs [B,K,K] out, those of pairs summed over time. Scores are finite, or at least -1e30. */
typedef struct tg_crf {
  int32_t dtype;
  int64_t batch, steps, tags;
  const int64_t *lengths;
  const void *scores, *transitions, *start, *end;
  void *log_partition, *marginals, *pairs;
} tg_crf;
tg_status tg_crf_run(const tg_crf *call);
/* y [N] = f(x), elementwise. Relative error of TG_F32 at most 2e-7 where neither x nor f(x) is denormal. y may be x. */
typedef enum tg_function { TG_EXP = 0, TG_TANH = 1, TG_SIGMOID = 2 } tg_function;
tg_status tg_apply(int32_t dtype, int32_t function, int64_t n, const void *x, void *y);

/* Threads that one call uses, the caller's included: 1 to 256. */
tg_status tg_set_num_threads(int32_t threads);
int32_t tg_get_num_threads(void);
/* Runs `body(data)` on `threads` threads at once: GOMP_parallel of an OpenMP runtime that is loaded already. With it the pool starts
 * no threads of its own beside that runtime's. `team_size` and `rank` are omp_get_num_threads and omp_get_thread_num. */
typedef void (*tg_parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags);
typedef int (*tg_query)(void);
void tg_use_openmp(tg_parallel parallel, tg_query team_size, tg_query rank); /* NULLs: back to the own pool */

/* "avx512", "avx2", "sse2" or "neon": what runs. Chosen at the first call: TIDEGATE_ISA, else the best that the processor has. */
const char *tg_isa(void);
/* Chooses by name, for tests; NULL: the best. TG_NO_ISA leaves it unchanged. Not while another call runs. */
tg_status tg_set_isa(const char *name);
/* The builds that this processor can run, separated by spaces, best first. */
const char *tg_isas(void);
/* Fused multiply-adds on registers alone: GFLOP/s of `threads` threads over about `seconds`, float32. */
double tg_peak(int32_t threads, double seconds);
/* What the last failure of this thread was: what, expected, got. Valid until the thread's next failure. */
const char *tg_message(void);

#ifdef __cplusplus
}
#endif
#endif
