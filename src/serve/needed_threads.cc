#include "serve/needed_threads.h"

#include <algorithm>

#include "http/http_server.h"

namespace commissure {

namespace {

constexpr int kOfTheMoment = 3;

/// As gRPC 1.51 has them once a server or a channel is there: executors, timers, and its event engine's, one for each
/// CPU within bounds, and one that watches these.
int threads_of_grpc(int n_cpus) { return 5 + std::clamp(n_cpus, 2, 16) + 1; }

}  // namespace

int needed_threads(const StageSettings& settings, int n_cpus) {
  int n = 1 + kOfTheMoment;  // the executor's
  if (settings.is_first()) {
    const HttpServerOptions http;
    n += 1 + http.n_threads + 2 * http.n_workers;  // with the engine's
  } else {
    n += 3;  // who takes connections, who takes calls, who keeps the stream
  }
  if (settings.n_stages() > 1) n += 1 + threads_of_grpc(n_cpus);  // with the one of calls that are over
  if (!settings.is_last()) n += 1;                                // who keeps the stream to the next stage
  if (!settings.trace_collector.empty()) n += 1;
  return n;
}

}  // namespace commissure
