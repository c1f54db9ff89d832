#pragma once

#include <string>

#include "api/trace_context.h"
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

}  // namespace commissure
