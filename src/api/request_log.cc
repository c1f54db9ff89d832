#include "api/request_log.h"

#include <fmt/format.h>

namespace commissure {

LogFields request_log_fields(const RequestInfo& request, int status, double seconds, const std::string& project) {
  Json http = {{"requestMethod", request.method},
               {"requestUrl", request.path},
               {"status", status},
               {"latency", fmt::format("{:.6f}s", seconds)}};
  if (!request.user_agent.empty()) http["userAgent"] = request.user_agent;
  LogFields fields = {{"request_id", request.id}, {"httpRequest", std::move(http)}};
  const TraceContext& trace = request.trace;
  if (trace.trace_id.empty()) return fields;
  const std::string name =
      project.empty() ? trace.trace_id : fmt::format("projects/{}/traces/{}", project, trace.trace_id);
  fields.emplace_back("logging.googleapis.com/trace", name);
  fields.emplace_back("logging.googleapis.com/spanId", trace.span_id);
  fields.emplace_back("logging.googleapis.com/trace_sampled", trace.sampled);
  return fields;
}

}  // namespace commissure
