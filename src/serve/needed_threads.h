#pragma once

#include "serve/stage_settings.h"

namespace commissure {

/// Threads that a stage starts between its kernels' threads and its first answer, on a machine with so many CPUs: its
/// own by its place in the chain, gRPC's where there is another stage, and three that come and go: those that load,
/// that ask the next stage, and that answer it or fetch keys.
int needed_threads(const StageSettings& settings, int n_cpus);

}  // namespace commissure
