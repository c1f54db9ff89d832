#pragma once

#include <functional>

namespace commissure::cpu {

/// How many threads compute best on `n_cpus`: as many, or half where every two CPUs are siblings, two hardware threads
/// of one core. Kernels keep a core's arithmetic or its share of memory busy with one thread; a second one makes each
/// operation wait for two where one would do. Virtual machines often hide which CPUs are siblings, hence a probe.
///   seconds(n)  CPU time that each of n threads needs at once for the same piece of arithmetic
/// Half only if siblings show in every one of several tries: a busy neighbour must not cost a machine its cores.
int choose_thread_count(int n_cpus, const std::function<double(int n_threads)>& seconds);

/// The probe itself: about a millisecond of multiplications on each of n threads.
double probe_seconds(int n_threads);

}  // namespace commissure::cpu
