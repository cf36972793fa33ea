/* Forward-backward over a linear-chain conditional random field (Lafferty et al. 2001; scaling as in Rabiner 1989). In: scores of
 * tags. Out: the log-partition, and the marginals that are its gradient. Rows are independent; numbers of work are double, so that a
 * row's sum neither overflows nor loses a path whose score lies within 700 of the best. */
#ifndef TIDEGATE_CRF_H
#define TIDEGATE_CRF_H

#include <cmath>

#include "core.h"

namespace {

/* Where the numbers of work stand: tg::crf_work(t, k) doubles. */
struct CrfWork {
  double *step, *back, *emitted, *alpha, *beta, *ahead, *first, *last; /* [K,K] x 2, [T,K] x 2, [K] x 4 */
  CrfWork(double *at, int64_t t, int64_t k)
      : step(at), back(step + k * k), emitted(back + k * k), alpha(emitted + t * k), beta(alpha + t * k), ahead(beta + k), first(ahead + k),
        last(first + k) {}
};

/* to = exp(from - highest); the highest is returned. */
template <class T> double shifted_exp(int64_t n, const T *from, double *to) {
  double highest = double(from[0]);
  for (int64_t j = 1; j < n; ++j) highest = double(from[j]) > highest ? double(from[j]) : highest;
  for (int64_t j = 0; j < n; ++j) to[j] = std::exp(double(from[j]) - highest);
  return highest;
}

/* Divides by the sum, which is returned. */
inline double normalise(int64_t n, double *x) {
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += x[j];
  const double scale = 1.0 / sum;
  for (int64_t j = 0; j < n; ++j) x[j] *= scale;
  return sum;
}

/* to[j] = sum over i of from[i] matrix[i][j], i = 0..K-1. */
inline void through(int64_t k, const double *from, const double *matrix, double *to) {
  for (int64_t j = 0; j < k; ++j) to[j] = 0;
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) to[j] += from[i] * matrix[i * k + j];
}

/* alpha, scaled to sum 1 at each step, and the log-partition. */
template <class T> double crf_ahead(int64_t n, int64_t k, const T *scores, double step_shift, double ends_shift, const CrfWork &w) {
  double total = ends_shift;
  for (int64_t s = 0; s < n; ++s) {
    double *alpha = w.alpha + s * k, *emitted = w.emitted + s * k;
    total += shifted_exp(k, scores + s * k, emitted);
    if (s) through(k, alpha - k, w.step, alpha);
    for (int64_t j = 0; j < k; ++j) alpha[j] = (s ? alpha[j] : w.first[j]) * emitted[j];
    total += std::log(normalise(k, alpha)) + (s ? step_shift : 0.0);
  }
  double closing = 0;
  for (int64_t j = 0; j < k; ++j) closing += w.alpha[(n - 1) * k + j] * w.last[j];
  return total + std::log(closing);
}

/* Marginals of each step, and of each pair of steps summed over time. */
template <class T> void crf_back(int64_t n, int64_t k, const CrfWork &w, T *marginals, T *pairs, double *sums) {
  for (int64_t i = 0; i < k * k; ++i) sums[i] = 0;
  for (int64_t j = 0; j < k; ++j) w.beta[j] = w.last[j];
  for (int64_t s = n - 1; s >= 0; --s) {
    const double *alpha = w.alpha + s * k;
    if (s + 1 < n) {
      for (int64_t j = 0; j < k; ++j) w.ahead[j] = w.emitted[(s + 1) * k + j] * w.beta[j];
      through(k, w.ahead, w.back, w.beta);
    }
    double total = 0;
    for (int64_t j = 0; j < k; ++j) total += alpha[j] * w.beta[j];
    for (int64_t j = 0; j < k; ++j) marginals[s * k + j] = T(alpha[j] * w.beta[j] / total);
    for (int64_t i = 0; i < k && s + 1 < n; ++i)
      for (int64_t j = 0; j < k; ++j) sums[i * k + j] += alpha[i] / total * w.ahead[j];
    normalise(k, w.beta);
  }
  for (int64_t i = 0; i < k * k; ++i) pairs[i] = T(sums[i] * w.step[i]);
}

template <class T> void crf_of(const tg_crf &c, double *work) {
  const int64_t k = c.tags, t = c.steps;
  const CrfWork w(work, t, k);
  double *const sums = work + tg::crf_work(t, k) - k * k;
  const T *scores = static_cast<const T *>(c.scores);
  const double step_shift = shifted_exp(k * k, static_cast<const T *>(c.transitions), w.step);
  const double ends_shift = shifted_exp(k, static_cast<const T *>(c.start), w.first) + shifted_exp(k, static_cast<const T *>(c.end), w.last);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < k; ++j) w.back[j * k + i] = w.step[i * k + j];
  for (int64_t r = 0; r < c.batch; ++r) {
    const int64_t n = c.lengths ? c.lengths[r] : t;
    static_cast<T *>(c.log_partition)[r] = n ? T(crf_ahead(n, k, scores + r * t * k, step_shift, ends_shift, w)) : T(0);
    T *own = static_cast<T *>(c.marginals) + r * t * k, *pairs = static_cast<T *>(c.pairs) + r * k * k;
    for (int64_t j = n * k; j < t * k; ++j) own[j] = 0;
    for (int64_t j = 0; j < k * k && !n; ++j) pairs[j] = 0;
    if (n) crf_back(n, k, w, own, pairs, sums);
  }
}

void crf(const tg_crf &c, double *work) {
  const FlushDenormals mode;
  if (c.dtype == TG_F32)
    crf_of<float>(c, work);
  else
    crf_of<double>(c, work);
}

}  // namespace
#endif
