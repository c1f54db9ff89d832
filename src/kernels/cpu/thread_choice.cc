#include "kernels/cpu/thread_choice.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "core/thread_clock.h"
#include "core/thread_pool.h"

namespace commissure::cpu {

namespace {

constexpr int kTries = 5;
/// Siblings take about twice the time at once, cores a little more than alone (a lower clock).
constexpr double kSiblingSlowdown = 1.5;

/// More independent chains of multiplications and additions than a core has in flight.
float multiply_a_lot() {
  constexpr int kRounds = 150'000;
  using Floats [[gnu::vector_size(16)]] = float;
  std::array<Floats, 12> chains{};
  for (int round = 0; round < kRounds; ++round) {
    for (Floats& chain : chains) chain = chain * 0.5f + 1.0f;
  }
  return std::accumulate(chains.begin(), chains.end(), Floats{})[0];
}

}  // namespace

int choose_thread_count(int n_cpus, const std::function<double(int n_threads)>& seconds) {
  if (n_cpus % 2 != 0) return n_cpus;
  for (int i = 0; i < kTries; ++i) {
    if (seconds(n_cpus) < kSiblingSlowdown * seconds(1)) return n_cpus;
  }
  return n_cpus / 2;
}

double probe_seconds(int n_threads) {
  ThreadPool pool(n_threads);
  std::vector<double> seconds(n_threads);
  pool.run([](int, int) {});  // all are awake
  pool.run([&](int part, int) {
    const double start = thread_cpu_seconds();
    [[maybe_unused]] const volatile float sink = multiply_a_lot();  // on every thread, and before the clock is read
    seconds[part] = thread_cpu_seconds() - start;
  });
  return *std::ranges::max_element(seconds);
}

}  // namespace commissure::cpu
