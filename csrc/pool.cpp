#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tg {
namespace {

constexpr int spins_before_sleep = 4000; /* about 50 us: the time between two layers of one net */

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

class Pool {
 public:
  /* Threads 1..n-1 exist; false where the system refuses. */
  bool grow(int n) {
    try {
      while (int(threads_.size()) + 1 < n) threads_.emplace_back(&Pool::work, this, int(threads_.size()) + 1, ticket_.load());
    } catch (const std::system_error &) {
      return false;
    } catch (const std::bad_alloc &) {
      return false;
    }
    return true;
  }

  void run(int n, Body body, void *data) {
    body_ = body;
    data_ = data;
    left_.store(n - 1, std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ticket_.store(next(n), std::memory_order_release);
    }
    wake_.notify_all();
    body(data, 0);
    for (int spins = 0; left_.load(std::memory_order_acquire) > 0; ++spins) {
      pause();
      if (spins > spins_before_sleep) std::this_thread::yield();
    }
  }

  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closing_ = true;
      ticket_.store(next(0), std::memory_order_release);
    }
    wake_.notify_all();
    for (auto &thread : threads_) thread.join();
  }

 private:
  /* A call's number and its threads in one word: a thread that wakes late must not take the count of the call after. */
  uint64_t next(int n) const { return (ticket_.load(std::memory_order_relaxed) >> 16 << 16) + (uint64_t(1) << 16) + uint64_t(n); }

  void work(int rank, uint64_t seen) {
    for (;;) {
      for (int spins = 0; spins < spins_before_sleep && ticket_.load(std::memory_order_acquire) == seen; ++spins) pause();
      if (ticket_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return ticket_.load(std::memory_order_relaxed) != seen; });
      }
      seen = ticket_.load(std::memory_order_acquire);
      if (closing_) return;
      if (rank >= int(seen & 0xffff)) continue; /* the call does not wait for this thread, and may be over */
      body_(data_, rank);
      left_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> left_{0};
  Body body_ = nullptr;
  void *data_ = nullptr;
  bool closing_ = false;
};

std::atomic<bool> taken{false};
std::atomic<int> threads_set{0};
Pool *pool = nullptr; /* made at the first call, kept: threads may not outlive a destructor that runs at exit */

std::atomic<tg_parallel> openmp{nullptr};
std::atomic<tg_query> openmp_size{nullptr}, openmp_rank{nullptr};

/* A child process has the memory but not the threads. */
void after_fork() {
  pool = nullptr;
  taken = false;
}

bool ready(int n) {
  if (!pool) {
    static std::atomic<bool> registered{false};
#if defined(__unix__) || defined(__APPLE__)
    if (!registered.exchange(true)) pthread_atfork(nullptr, nullptr, after_fork);
#endif
    pool = new (std::nothrow) Pool;
  }
  return pool && pool->grow(n);
}

struct Borrowed {
  Body body;
  void *data;
  int wanted;
  bool ran;
};

void borrowed_body(void *data) {
  auto *call = static_cast<Borrowed *>(data);
  if (openmp_size.load()() < call->wanted) return;
  const int rank = openmp_rank.load()();
  if (rank == 0) call->ran = true;
  call->body(call->data, rank);
}

}  // namespace

Lease::Lease(int wanted) : threads_(wanted), own_(false) {
  if (wanted <= 1 || openmp.load()) return;
  own_ = !taken.exchange(true, std::memory_order_acquire);
  if (own_ && ready(wanted)) return;
  threads_ = 1;
}

Lease::~Lease() {
  if (own_) taken.store(false, std::memory_order_release);
}

bool Lease::run(Body body, void *data) {
  if (threads_ == 1) {
    body(data, 0);
    return true;
  }
  if (own_) {
    pool->run(threads_, body, data);
    return true;
  }
  Borrowed call = {body, data, threads_, false};
  openmp.load()(borrowed_body, &call, unsigned(threads_), 0);
  return call.ran;
}

void set_threads(int threads) { threads_set = threads; }

int get_threads() {
  const int set = threads_set.load();
  if (set) return set;
  const int found = int(std::thread::hardware_concurrency());
  return found < 1 ? 1 : found > 256 ? 256 : found;
}

void use_openmp(tg_parallel parallel, tg_query team_size, tg_query rank) {
  const bool whole = parallel && team_size && rank;
  openmp_size = whole ? team_size : nullptr;
  openmp_rank = whole ? rank : nullptr;
  openmp = whole ? parallel : nullptr;
}

}  // namespace tg
