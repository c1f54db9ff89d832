#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <utility>

#include "core/check.h"

namespace commissure {
namespace {

constexpr auto kSpinTime = std::chrono::microseconds(100);
/// Pauses between two looks at the clock.
constexpr int kPausesPerLook = 32;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Polls until done() or the spin time is over; returns done().
template <typename Done>
bool spin(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

/// Binds the calling thread to the `index`-th core the process may use; without that many it stays free.
void pin_to_core(int index) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || index-- > 0) continue;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

}  // namespace

ThreadPool::ThreadPool(int n_threads, bool pin) : n_threads_(n_threads), pin_caller_(pin) {
  CHECK(n_threads >= 1);
  workers_.reserve(static_cast<std::size_t>(n_threads - 1));
  for (int part = 1; part < n_threads; ++part) {
    workers_.emplace_back([this, part, pin] {
      if (pin) pin_to_core(part);
      work(part);
    });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  ring();
  workers_.clear();  // joins
}

void ThreadPool::run_task(Task task) {
  if (n_threads_ == 1) return task.call(task.function, 0, 1);
  if (std::exchange(pin_caller_, false)) pin_to_core(0);
  task_ = task;
  n_pending_.store(static_cast<std::uint32_t>(n_threads_ - 1), std::memory_order_relaxed);
  resting_.store(false, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  ring();

  task.call(task.function, 0, n_threads_);

  const auto all_done = [this] { return n_pending_.load(std::memory_order_acquire) == 0; };
  if (spin(all_done)) return;
  // A worker lost its core to another process: sleep instead of burning the one it may need.
  for (std::uint32_t n = n_pending_.load(std::memory_order_acquire); n != 0;
       n = n_pending_.load(std::memory_order_acquire)) {
    n_pending_.wait(n, std::memory_order_acquire);
  }
}

void ThreadPool::ring() {
  bell_.fetch_add(1, std::memory_order_release);
  bell_.notify_all();
}

void ThreadPool::wake() {
  resting_.store(false, std::memory_order_relaxed);
  ring();
}

void ThreadPool::rest() { resting_.store(true, std::memory_order_relaxed); }

void ThreadPool::work(int part) {
  for (std::uint32_t seen = 0;; ++seen) {
    await_epoch(seen);
    if (stopping_) return;
    task_.call(task_.function, part, n_threads_);
    if (n_pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) n_pending_.notify_one();
  }
}

void ThreadPool::await_epoch(std::uint32_t seen) {
  const auto changed = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
  while (true) {
    const std::uint32_t heard = bell_.load(std::memory_order_acquire);
    spin([&] { return changed() || resting_.load(std::memory_order_relaxed); });
    if (changed()) return;
    bell_.wait(heard, std::memory_order_acquire);
  }
}

}  // namespace commissure
