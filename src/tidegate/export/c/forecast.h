/* What every forecaster that Tidegate exports to C shares, behind run.h: the rows kept, the scale that moves with them, the naive
 * candidates, quantiles, a calendar by whole numbers. Statistics are double: sums over a history lose float's digits. */
#ifndef TIDEGATE_FORECAST_H
#define TIDEGATE_FORECAST_H
#define TG_FINITE 3.40282347e+38f /* no finite number is larger */
#define TG_FLOOR 1e-6 /* a scale is at least this share of its mean or largest value: a constant has one too */
#define TG_CLIP 1e6   /* scaled values beyond are outliers of a million deviations */

/* Mean and deviation of a line: running ones, or those of its last rows. count: rows seen, up to the memory. */
typedef struct {
  double loc, unit;
  int32_t count;
} tg_measure;

static TG_UNUSED float tg_missing(void) {
  const uint32_t bits = 0x7fc00000u; /* NaN, without a constant that a compiler may warn of */
  float value;
  TG_COPY(&value, &bits, sizeof value);
  return value;
}
static TG_UNUSED double tg_size(double x) { return x < 0.0 ? -x : x; }
/* Root of x >= 0 by Newton's method from its bits, without libm. */
static TG_UNUSED double tg_root(double x) {
  uint64_t bits;
  double inverse;
  int k;
  if (!(x > 0.0)) return 0.0;
  TG_COPY(&bits, &x, sizeof bits);
  bits = 0x5fe6eb50c7b537a9u - (bits >> 1);
  TG_COPY(&inverse, &bits, sizeof inverse);
  for (k = 0; k < 5; ++k) inverse *= 1.5 - 0.5 * x * inverse * inverse;
  return x * inverse;
}
/* log x of a normal x > 0: its exponent, and 2 artanh((m - 1) / (m + 1)) of its mantissa. */
static TG_UNUSED double tg_log(double x) {
  uint64_t bits;
  double m, s, sum = 0.0;
  int exponent, n;
  TG_COPY(&bits, &x, sizeof bits);
  exponent = (int)(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
  TG_COPY(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  s = (m - 1.0) / (m + 1.0);
  for (n = 21; n >= 1; n -= 2) sum = sum * (s * s) + 1.0 / (double)n;
  return 2.0 * s * sum + 0.6931471805599453 * (double)exponent;
}
/* arsinh(x) / 5, how the level of a line is told to the net. */
static TG_UNUSED float tg_level(double x) {
  const double size = tg_size(x), y = tg_log(size + tg_root(size * size + 1.0)) / 5.0;
  return (float)(x < 0.0 ? -y : y);
}
/* log(1 + exp x). */
static TG_UNUSED float tg_softplus(float x) {
  float e[TG_LANES];
  tg_store(e, tg_exp(tg_all(x < 0.0f ? x : -x)));
  return (x < 0.0f ? 0.0f : x) + (float)tg_log(1.0 + (double)e[0]);
}

/* One more value y: moving mean and mean absolute deviation, of weight max(1 / rows, 1 / memory). */
static TG_UNUSED void tg_follow(tg_measure *moving, double y, int32_t memory) {
  double share;
  if (moving->count < memory) ++moving->count;
  share = 1.0 / (double)moving->count;
  moving->loc += share * (y - moving->loc);
  moving->unit += share * (tg_size(y - moving->loc) - moving->unit);
}
/* The scale that the moving statistics give; count 0: nothing was seen. Field by field: a struct would be copied by a call. */
static TG_UNUSED void tg_running(tg_measure *scale, const tg_measure *moving) {
  const double least = TG_FLOOR * tg_size(moving->loc);
  scale->loc = moving->loc;
  scale->count = moving->count;
  scale->unit = moving->unit < least ? least : moving->unit;
  if (!(scale->unit > 0.0)) scale->unit = 1.0;
}
/* The value `back` rows before the newest in a ring [reach] whose newest stands at `at`; *seen: whether it is there. */
static TG_UNUSED double tg_past(const float *ring, int reach, int at, int back, int *seen) {
  const float *value = ring + (at >= back ? at - back : at - back + reach);
  *seen = tg_within(value, TG_FINITE, 1);
  return *seen ? (double)*value : 0.0;
}
/* Mean and standard deviation of the newest `rows` values; *scale stays what it was where none of them is there. */
static TG_UNUSED void tg_window(tg_measure *scale, const float *ring, int reach, int at, int rows) {
  double sum = 0.0, squares = 0.0, most = 0.0, y;
  int32_t count = 0;
  int back, seen;
  for (back = 0; back < rows; ++back) {
    y = tg_past(ring, reach, at, back, &seen);
    count += (int32_t)seen;
    sum += y;
    if (tg_size(y) > most) most = tg_size(y);
  }
  if (count == 0) return;
  scale->loc = sum / (double)count;
  scale->count = count;
  for (back = 0; back < rows; ++back) {
    y = tg_past(ring, reach, at, back, &seen);
    if (seen) squares += (y - scale->loc) * (y - scale->loc);
  }
  scale->unit = tg_root(squares / (double)count);
  most = TG_FLOOR * (most > 0.0 ? most : 1.0);
  if (scale->unit < most) scale->unit = most;
}
static TG_UNUSED float tg_scaled(double y, const tg_measure *scale) {
  const double z = (y - scale->loc) / scale->unit;
  return (float)(z > TG_CLIP ? TG_CLIP : z < -TG_CLIP ? -TG_CLIP : z);
}
/* x [2 * rows]: value and mask of each row of a segment, the last of them `back` rows before the newest. */
static TG_UNUSED void tg_segment(float *x, const float *ring, int reach, int at, int back, int rows, const tg_measure *scale) {
  int k, seen;
  for (k = 0; k < rows; ++k) {
    const double y = tg_past(ring, reach, at, back + rows - 1 - k, &seen);
    x[2 * k] = seen ? tg_scaled(y, scale) : 0.0f;
    x[2 * k + 1] = (float)seen;
  }
}
/* y [2 * count]: the candidates of a step of the horizon, then their masks; lag 0 is the mean, 0 in units of the scale. */
static TG_UNUSED void tg_candidates(float *y, const float *ring, int reach, int at, const int32_t *lags, int count, int step,
                                    const tg_measure *scale) {
  int k, seen;
  for (k = 0; k < count; ++k) {
    const int lag = (int)lags[k];
    const double past = lag ? tg_past(ring, reach, at, lag - 1 - step % lag, &seen) : 0.0;
    y[k] = lag && seen ? tg_scaled(past, scale) : 0.0f;
    y[count + k] = lag ? (float)seen : 1.0f;
  }
}
/* base [rows]: for each row the mean of its candidates [n], weighted by the softmax of its scores [n]; candidates `apart`. */
static TG_UNUSED void tg_mix(float *base, const float *scores, const float *candidates, int rows, int n, int apart) {
  int k, i;
  for (k = 0; k < rows; ++k, scores += n, candidates += apart) {
    float highest = scores[0], total = 0.0f, sum = 0.0f, e[TG_LANES];
    for (i = 1; i < n; ++i) highest = scores[i] > highest ? scores[i] : highest;
    for (i = 0; i < n; ++i) {
      tg_store(e, tg_exp(tg_all(scores[i] - highest)));
      total += e[0];
      sum += e[0] * candidates[i];
    }
    base[k] = sum / total;
  }
}
/* q [n] in rising order. */
static TG_UNUSED void tg_sort(float *q, int n) {
  int k, i;
  for (k = 1; k < n; ++k) {
    const float moved = q[k];
    for (i = k; i > 0 && q[i - 1] > moved; --i) q[i] = q[i - 1];
    q[i] = moved;
  }
}
/* v [wanted]: quantiles between, or beyond, those of the grid q [n] in rising order; never falling. */
static TG_UNUSED void tg_levels(float *v, const float *q, int n, const uint8_t *left, const float *weight, int wanted) {
  int k;
  for (k = 0; k < wanted; ++k) {
    const int at = (int)left[k], next = at + 1 < n ? at + 1 : at;
    v[k] = (1.0f - weight[k]) * q[at] + weight[k] * q[next];
    if (k > 0 && v[k] < v[k - 1]) v[k] = v[k - 1];
  }
}
/* |t| of a probability at so many degrees of freedom: exp of a Chebyshev series [n] over 2 / freedom - 1. */
static TG_UNUSED float tg_student(const double *series, int n, float freedom) {
  const double at = 2.0 / (double)freedom - 1.0;
  double first = 0.0, second = 0.0;
  float t[TG_LANES];
  int k;
  for (k = n - 1; k > 0; --k) {
    const double next = series[k] + 2.0 * at * first - second;
    second = first, first = next;
  }
  tg_store(t, tg_exp(tg_all((float)(series[0] + at * first - second))));
  return t[0];
}
/* In the data's units, at least `lower`; NaN for a line of which nothing was ever seen. */
static TG_UNUSED float tg_unscaled(float z, float base, const tg_measure *scale, double lower) {
  const double y = scale->loc + scale->unit * ((double)base + (double)z);
  return scale->count ? (float)(y < lower ? lower : y) : tg_missing();
}

/* Whole numbers: n / by rounded down, by > 0. */
static TG_UNUSED int64_t tg_floor(int64_t n, int64_t by) { return n >= 0 ? n / by : -((by - 1 - n) / by); }
/* sine and cosine of `part` parts of a turn of `parts`. */
static TG_UNUSED void tg_turn(int32_t part, int32_t parts, float *sine, float *cosine) {
  const int32_t quarter = 4 * part / parts, rest = 4 * part - quarter * parts;
  const int swapped = 2 * rest > parts;
  const double angle = 1.5707963267948966 * (double)(swapped ? parts - rest : rest) / (double)parts, x = angle * angle;
  double s = 1.0, c = 1.0; /* Taylor's series, from the smallest term of each */
  float first, second;     /* sine and cosine within the quarter */
  int n;
  for (n = 14; n > 0; n -= 2) {
    s = 1.0 - s * x / (double)(n * (n + 1));
    c = 1.0 - c * x / (double)(n * (n - 1));
  }
  first = (float)(swapped ? c : s * angle), second = (float)(swapped ? s * angle : c);
  *sine = quarter == 0 ? first : quarter == 1 ? second : quarter == 2 ? -first : -second;
  *cosine = quarter == 0 ? second : quarter == 1 ? -first : quarter == 2 ? -second : first;
}
/* The place of a day in its year, from 0, and how many days that has; day 0 is 1970-01-01 (Hinnant's civil_from_days). */
static TG_UNUSED int32_t tg_day_of_year(int64_t day, int32_t *length) {
  const int64_t since = day + 719468, era = tg_floor(since, 146097);
  const int32_t of_era = (int32_t)(since - era * 146097);
  const int32_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const int32_t of_march = of_era - (365 * years + years / 4 - years / 100);
  const int32_t year = years + (of_march >= 306); /* of the era, which begins in a March of a year that 400 divides */
  const int32_t leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  *length = 365 + leap;
  return of_march >= 306 ? of_march - 306 : of_march + 59 + leap;
}
#endif
