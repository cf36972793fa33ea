/* The threads of the core. In: a body and a number of threads. Out: the body has run once on each, ranks 0..n-1, all at the same time.
 *
 * One call at a time has the pool; a call that finds it taken runs alone. Where an OpenMP runtime is in the process already (torch's),
 * its threads are borrowed instead: they spin for a while after each of torch's operations, and threads of our own would wait
 * behind them. */
#ifndef TIDEGATE_POOL_H
#define TIDEGATE_POOL_H

#include "tidegate.h"

namespace tg {

using Body = void (*)(void *data, int rank);

class Lease {
 public:
  explicit Lease(int wanted);
  ~Lease();
  Lease(const Lease &) = delete;
  Lease &operator=(const Lease &) = delete;
  int threads() const { return threads_; }
  /* Runs the body on `threads()` threads. False: they could not be had together, and nothing has run. */
  bool run(Body body, void *data);

 private:
  int threads_;
  bool own_;
};

void set_threads(int threads);
int get_threads();
void use_openmp(tg_parallel parallel, tg_query team_size, tg_query rank);

}  // namespace tg
#endif
