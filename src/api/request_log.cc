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

std::optional<std::uint64_t> LogLimiter::admit(Clock::time_point now) {
  return state_.with([&](State& state) -> std::optional<std::uint64_t> {
    const double seconds = std::chrono::duration<double>(now - state.last).count();
    state.n_free = std::min<double>(kBurst, state.n_free + kPerSecond * seconds);
    state.last = now;
    if (state.n_free < 1) {
      ++state.n_kept_back;
      return std::nullopt;
    }
    state.n_free -= 1;
    return std::exchange(state.n_kept_back, 0);
  });
}

void log_request(int status, LogFields fields, LogLimiter& limiter) {
  if (status >= 400) {
    const auto n_left_out = limiter.admit(LogLimiter::Clock::now());
    if (!n_left_out) return;
    if (*n_left_out > 0) fields.emplace_back("left_out", *n_left_out);
  }
  log(status >= 500 ? Severity::kWarning : Severity::kInfo, "request", fields);
}

}  // namespace commissure
