#pragma once

#include <functional>

namespace commissure::cpu {

/// The number of threads that computes fastest on `n_cpus` CPUs: n_cpus, or half of it where every two CPUs are
/// siblings (the two hardware threads of one core). One kernel thread keeps a core's arithmetic or its share of memory
/// busy; a second thread on the core only makes each operation wait for two threads. Virtual machines often hide which
/// CPUs are siblings, so a probe finds out.
///   seconds(n)  runs the same piece of arithmetic on n threads at once; returns the CPU time each of them needed
/// The answer is half only if siblings show in every one of several tries: a busy neighbour must not cost a machine its
/// cores.
int choose_thread_count(int n_cpus, const std::function<double(int n_threads)>& seconds);

/// The probe itself: about a millisecond of multiplications on each of n threads.
double probe_seconds(int n_threads);

}  // namespace commissure::cpu
