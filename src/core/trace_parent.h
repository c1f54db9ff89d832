#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace commissure {

/// A place in a distributed trace that work belongs to: the caller's span. Ids are lower-case hexadecimal.
struct TraceParent {
  std::string trace_id;  ///< 32 digits, not all zero
  std::string span_id;   ///< 16 digits, not all zero
  bool sampled = false;  ///< the caller wants spans
  bool operator==(const TraceParent&) const = default;
};

/// Characters of a traceparent of version 00.
inline constexpr std::size_t kTraceParentSize = 55;

/// "00-TRACE-SPAN-FLAGS", or a later version of it; none when it is malformed.
/// Source: W3C Trace Context, section 3.2.
std::optional<TraceParent> parse_traceparent(std::string_view text);

/// The same as text, of version 00.
std::string to_traceparent(const TraceParent& parent);

/// 16 random hexadecimal digits, not all zero.
std::string new_span_id();

}  // namespace commissure
