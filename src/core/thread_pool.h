#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace commissure {

/// A fixed set of threads that run one function together, many thousand times a second.
///
/// The work split is the caller's and depends only on (part, n_parts), so results never depend on timing. Workers
/// spin for about 50 us after a call before they sleep: a sleeping thread costs some 40 us to wake, a spinning one
/// 0.1 us, and a model step makes about a hundred calls.
/// Threading: run() and rest() from one thread at a time, wake() from any.
class ThreadPool {
 public:
  /// Starts n_threads - 1 workers; the caller of run() is the remaining thread. n_threads >= 1.
  /// `pin` gives every thread a core of its own (the caller's at its first run()): stage processes that take turns
  /// on one machine wake their threads for every step, and a kernel that puts two of them on one core costs
  /// milliseconds until it notices.
  explicit ThreadPool(int n_threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return n_threads_; }

  /// Calls f(part, n_parts) once for every part in [0, n_threads()), part 0 on the calling thread, and returns when
  /// all have returned; everything they wrote is then visible. f must not throw or call run() itself.
  template <typename F>
  void run(F&& f) {
    using Function = std::remove_reference_t<F>;
    run_task({[](void* function, int part, int n_parts) { (*static_cast<Function*>(function))(part, n_parts); },
              const_cast<void*>(static_cast<const void*>(&f))});
  }

  /// Wakes sleeping workers for a run() that comes within some 100 us, so that it need not wait for them.
  void wake();

  /// Lets the workers sleep at once. Called when no work is near, so that other processes get the cores.
  void rest();

 private:
  /// A function reference: nothing is allocated per call.
  struct Task {
    void (*call)(void* function, int part, int n_parts) = nullptr;
    void* function = nullptr;
  };

  void run_task(Task task);
  void work(int part);
  void ring();
  /// Returns when the epoch is no longer `seen`.
  void await_epoch(std::uint32_t seen);

  // The caller's word, the workers' word and the rest keep to their own cache lines.
  alignas(64) std::atomic<std::uint32_t> epoch_{0};  ///< one more for every call
  std::atomic<std::uint32_t> bell_{0};               ///< what sleeping workers listen to
  std::atomic<bool> resting_{false};
  bool stopping_ = false;  ///< written before the last epoch
  Task task_;
  alignas(64) std::atomic<std::uint32_t> n_pending_{0};  ///< workers still in the current call
  alignas(64) int n_threads_;
  bool pin_caller_;  ///< until it is done
  std::vector<std::jthread> workers_;
};

}  // namespace commissure
