#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "api/trace_context.h"
#include "core/guarded.h"
#include "core/log.h"

namespace commissure {

/// What the log line of a request says about where it came from.
struct RequestInfo {
  std::string id = {};  ///< the request id
  std::string method = {};
  std::string path = {};
  std::string user_agent = {};
  TraceContext trace = {};
};

/// The fields of a request's one log line that do not depend on the endpoint: its id, httpRequest and its trace, as
/// Cloud Logging reads them. `project`: Google Cloud's, which the name of a trace needs; empty: only the trace's id.
LogFields request_log_fields(const RequestInfo& request, int status, double seconds, const std::string& project);

/// Lets a few lines through at once and then so many a second, and counts those it keeps back: what anybody may cause
/// as fast as the network carries it must not fill a disk. Threading: any thread.
class LogLimiter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kBurst = 20;
  static constexpr int kPerSecond = 5;

  /// How many lines were kept back since the last one that passed; nothing when this one is kept back too.
  std::optional<std::uint64_t> admit(Clock::time_point now);

 private:
  struct State {
    double n_free = kBurst;
    Clock::time_point last = {};
    std::uint64_t n_kept_back = 0;
  };
  Guarded<State> state_;
};

/// Writes a request's line. That of a failed one only as `limiter` lets it; it then says how many were left out.
void log_request(int status, LogFields fields, LogLimiter& limiter);

}  // namespace commissure
