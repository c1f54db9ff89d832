#include "api/trace_context.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <random>

namespace commissure {

namespace {

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

/// "00-TRACE-SPAN-FLAGS". Source: W3C Trace Context, section 3.2.
std::optional<TraceContext> parse_traceparent(std::string_view header) {
  constexpr std::size_t kLength = 55;  // of version 00; later ones may go on after another dash
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-') return std::nullopt;
  const std::string_view version = header.substr(0, 2);
  const std::string_view trace = header.substr(3, 32);
  const std::string_view span = header.substr(36, 16);
  const std::string_view flags = header.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) return std::nullopt;
  if (version == "ff" || (version == "00" && header.size() != kLength)) return std::nullopt;
  if (header.size() > kLength && header[kLength] != '-') return std::nullopt;
  if (is_zero(trace) || is_zero(span)) return std::nullopt;
  const bool sampled = std::string_view("13579bdf").find(flags[1]) != std::string_view::npos;
  return TraceContext{std::string(trace), std::string(span), new_span_id(), sampled};
}

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
  if (const std::string* header = request.header("traceparent")) context = parse_traceparent(*header);
  if (context) return *context;
  if (const std::string* header = request.header("x-cloud-trace-context")) context = parse_cloud_trace(*header);
  return context.value_or(TraceContext());
}

TraceContext new_trace() { return {new_span_id() + new_span_id(), "", new_span_id(), true}; }

std::string new_span_id() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{:016x}", random() | 1);
}

}  // namespace commissure
