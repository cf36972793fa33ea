/* cell.h as plain C99 over a float: what exported code does. Compares each forward with the C library. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../tidegate.h"

#define TG_REAL float
#define TG_INLINE static inline
#define TG_SET(c) (c)
#define TG_FMA(a, b, c) ((a) * (b) + (c))
#define TG_LESS(a, b, x, y) ((a) < (b) ? (x) : (y))
static inline float pow2_of_shifted(float shifted) {
  int32_t bits;
  memcpy(&bits, &shifted, 4);
  bits = (int32_t)((uint32_t)bits << 23) + 0x3f800000;
  memcpy(&shifted, &bits, 4);
  return shifted;
}
#define TG_POW2(shifted) pow2_of_shifted(shifted)
#include "../cell.h"

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static int near(double a, double b) { return fabs(a - b) <= 2e-6 * (1.0 + fabs(b)); }

int main(void) {
  int failed = 0;
  for (int k = -400; k <= 400; ++k) {
    const float x = (float)k * 0.05f, c = 0.3f, h = -0.4f;
    float g[4], c_next, h_next;
    g[0] = x;
    tg_rnn_tanh_output(g, h, c, &h_next);
    failed += !near(h_next, tanh(x));
    g[0] = x;
    tg_rnn_relu_output(g, h, c, &h_next);
    failed += !near(h_next, x > 0 ? x : 0);
    g[0] = x, g[1] = -x, g[2] = x + 1, g[3] = 0.5f * x;
    tg_lstm_gates(g, c, &c_next);
    tg_lstm_output(g, h, c_next, &h_next);
    const double c_wanted = sigmoid(-x) * c + sigmoid(x) * tanh(x + 1);
    failed += !near(c_next, c_wanted) + !near(h_next, sigmoid(0.5 * x) * tanh(c_wanted));
    g[0] = x, g[1] = -x, g[2] = x + 1, g[3] = 0.5f * x;
    tg_gru_gates(g, c, &c_next);
    tg_gru_output(g, h, c_next, &h_next);
    const double n = tanh(x + sigmoid(-x) * 0.5 * x), z = sigmoid(x + 1);
    failed += !near(h_next, (1 - z) * n + z * h);
    failed += !near(tg_exp(x), exp(x));
  }
  printf("cell.h as C99: %d failed\n", failed);
  return failed != 0;
}
