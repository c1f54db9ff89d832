#include "api/trace_context.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "core/trace_parent.h"

namespace commissure {

namespace {

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

/// "TRACE/SPAN;o=1", the span a decimal number, both latter parts optional. Source: Google Cloud Trace's documentation.
std::optional<TraceContext> parse_cloud_trace(std::string_view header) {
  constexpr std::size_t kTraceDigits = 32;
  const std::string_view trace = header.substr(0, kTraceDigits);
  if (trace.size() < kTraceDigits || !is_hex(trace) || is_zero(trace)) return std::nullopt;
  TraceContext context{std::string(trace), "", new_span_id(), header.ends_with(";o=1")};
  std::string_view rest = header.substr(kTraceDigits);
  if (!rest.starts_with('/')) return rest.empty() || rest.starts_with(';') ? std::optional(context) : std::nullopt;
  rest.remove_prefix(1);
  std::uint64_t span = 0;
  const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), span);
  if (problem != std::errc() || (end != rest.data() + rest.size() && *end != ';')) return std::nullopt;
  if (span != 0) context.parent_id = fmt::format("{:016x}", span);
  return context;
}

}  // namespace

TraceContext read_trace_context(const HttpRequest& request) {
  std::optional<TraceContext> context;
  if (const std::string* header = request.header("traceparent")) {
    if (auto parent = parse_traceparent(*header)) {
      context = {std::move(parent->trace_id), std::move(parent->span_id), new_span_id(), parent->sampled};
    }
  }
  if (context) return *context;
  if (const std::string* header = request.header("x-cloud-trace-context")) context = parse_cloud_trace(*header);
  return context.value_or(TraceContext());
}

TraceContext new_trace() { return {new_span_id() + new_span_id(), "", new_span_id(), true}; }

}  // namespace commissure
