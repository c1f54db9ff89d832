#include "api/request_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace commissure {

namespace {

constexpr std::size_t kMaxUrl = 200;
constexpr std::size_t kMaxMethod = 20;

}  // namespace

LogFields request_log_fields(const RequestInfo& request, int status, double seconds, const std::string& project) {
  Json http = {{"requestMethod", request.method.substr(0, kMaxMethod)},
               {"requestUrl", request.path.substr(0, kMaxUrl)},
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

void log_request(int status, LogFields fields, LogLimiter& limiter) {
  if (status < 400) return log_info("request", fields);
  log_limited(limiter, status >= 500 ? Severity::kWarning : Severity::kInfo, "request", std::move(fields));
}

}  // namespace commissure
