#pragma once

#include <string>

#include "api/trace_context.h"
#include "core/log.h"
#include "core/log_limiter.h"

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

/// Writes a request's line. That of a failed one only as `limiter` lets it; it then says how many were left out.
void log_request(int status, LogFields fields, LogLimiter& limiter);

}  // namespace commissure
