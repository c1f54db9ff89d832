#include "core/trace_parent.h"

#include <fmt/format.h>

#include <random>

namespace commissure {

namespace {

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::optional<TraceParent> parse_traceparent(std::string_view text) {
  // Later versions may go on after another dash.
  if (text.size() < kTraceParentSize || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  const std::string_view version = text.substr(0, 2);
  const std::string_view trace = text.substr(3, 32);
  const std::string_view span = text.substr(36, 16);
  const std::string_view flags = text.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(span) || !is_hex(flags)) return std::nullopt;
  if (version == "ff" || (version == "00" && text.size() != kTraceParentSize)) return std::nullopt;
  if (text.size() > kTraceParentSize && text[kTraceParentSize] != '-') return std::nullopt;
  if (is_zero(trace) || is_zero(span)) return std::nullopt;
  const bool sampled = std::string_view("13579bdf").find(flags[1]) != std::string_view::npos;
  return TraceParent{std::string(trace), std::string(span), sampled};
}

std::string to_traceparent(const TraceParent& parent) {
  return fmt::format("00-{}-{}-{}", parent.trace_id, parent.span_id, parent.sampled ? "01" : "00");
}

std::string new_span_id() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{:016x}", random() | 1);
}

}  // namespace commissure
