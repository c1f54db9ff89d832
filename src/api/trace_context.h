#pragma once

#include <string>
#include <string_view>

#include "http/http.h"

namespace commissure {

/// A request's place in a distributed trace. Ids are lower-case hexadecimal.
struct TraceContext {
  std::string trace_id = {};   ///< 32 digits; empty: the request belongs to no trace
  std::string parent_id = {};  ///< 16 digits, the caller's span; may be empty
  std::string span_id = {};    ///< 16 digits, ours
  bool sampled = false;        ///< the caller wants spans
};

/// From `traceparent` (W3C), else from `x-cloud-trace-context` (Google). A malformed header counts as none: it starts
/// no trace and harms nothing.
TraceContext read_trace_context(const HttpRequest& request);

/// The start of a trace of our own.
TraceContext new_trace();

}  // namespace commissure
