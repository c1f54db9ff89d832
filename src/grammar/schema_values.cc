#include <algorithm>
#include <array>
#include <cmath>

#include "grammar/schema_keywords.h"
#include "grammar/schema_reader.h"
#include "grammar/source_check.h"
#include "text/utf8.h"

namespace commissure {

namespace {

/// Of one pattern, whose automaton is copied for each; and of all of them.
constexpr std::uint64_t kMaxPatternParts = 1000;
constexpr std::uint64_t kMaxAllPatternParts = 4000;
/// Multiples in a range, or remainders of a number, are built a few together as one part of the schema.
constexpr double kMultiplesPerPart = 4;

std::size_t n_multiples(const Json& schema) {
  const double step = std::abs(schema["multipleOf"].get<double>());
  const auto bound = [&](const char* inclusive, const char* exclusive) {
    const auto found = schema.find(inclusive);
    return found != schema.end() ? found : schema.find(exclusive);
  };
  const auto low = bound("minimum", "exclusiveMinimum"), high = bound("maximum", "exclusiveMaximum");
  double n = step;
  if (low != schema.end() && high != schema.end() && step > 0) n = (high->get<double>() - low->get<double>()) / step;
  return static_cast<std::size_t>(std::clamp(n, 0.0, 1e6) / kMultiplesPerPart);
}

}  // namespace

/// Characters that XGrammar's automata for JSON texts do not take become escapes that they do: for a pattern with one
/// of the others it would use a grammar that lets quotes and control characters through.
Result<std::string> SchemaReader::read_pattern(const std::string& pattern, const std::string& where) const {
  if (pattern.size() > kMaxRegexBytes) {
    return schema_refused(where, "a pattern has ", pattern.size(), " bytes, at most ", kMaxRegexBytes);
  }
  const auto is_plain = [&](std::size_t at) {
    return at < pattern.size() && pattern[at] >= 0x20 && pattern[at] <= 0x7e;
  };
  std::string plain;
  for (std::size_t at = 0; at < pattern.size();) {
    if (pattern[at] == '\\' && is_plain(at + 1)) {
      plain += pattern.substr(at, 2);
      at += 2;
    } else if (is_plain(at)) {
      const bool is_void = pattern[at] == '\\' && at + 1 < pattern.size();  // what it stands before becomes an escape
      if (!is_void) plain += pattern[at];
      ++at;
    } else {
      const CodePoint point = decode_code_point(pattern, at);
      if (!point.is_valid) return schema_refused(where, "a pattern is not UTF-8");
      plain += fmt::format("\\u{{{:x}}}", static_cast<std::uint32_t>(point.value));
      at += static_cast<std::size_t>(point.n_bytes);
    }
  }
  const std::string what = "the schema at " + where + ": the pattern";
  work_.n_unfolded += TRY(unfolded_parts(plain, Notation::kRegex, kMaxPatternParts, what));
  if (work_.n_unfolded > kMaxAllPatternParts) {
    return Error(Code::kResourceExhausted, "the patterns of the schema unfold into more than ", kMaxAllPatternParts,
                 " parts");
  }
  work_.patterns.push_back(plain);
  return plain;
}

Status SchemaReader::read_string(const Json& schema, const std::string& where, Json& out) const {
  static constexpr std::array<std::string_view, 2> kCounts = {"minLength", "maxLength"};
  TRY(read_counts(schema, kCounts, where, out));
  for (const char* keyword : {"pattern", "format"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_string()) return schema_refused(where, "'", keyword, "' must be a string");
    const std::string& text = found->get_ref<const std::string&>();
    const bool is_format = keyword == std::string_view("format");
    if (is_format && out.contains("type") && out["type"] != "string") {
      if (schema.contains("minimum") || schema.contains("maximum"))
        return schema_refused(where, "'format' beside a number");
    }
    if (is_format && !is_known_format(text)) {
      return schema_refused(where, "answers cannot be held to the 'format' \"", text.substr(0, 64), "\"");
    }
    if (is_format) {
      out[keyword] = text;
    } else {
      out[keyword] = TRY(read_pattern(text, where));
    }
  }
  const bool has_length = out.contains("minLength") || out.contains("maxLength");
  const bool has_pattern = out.contains("pattern"), has_format = out.contains("format");
  if ((has_length && (has_pattern || has_format)) || (has_pattern && has_format)) {
    return schema_refused(where, "answers cannot be held to more than one of 'pattern', 'format' and a length");
  }
  return {};
}

Status SchemaReader::read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const {
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_number()) return schema_refused(where, "'", keyword, "' must be a number");
    out[keyword] = *found;
  }
  const auto format = schema.find("format");
  const bool is_string_too = out["type"].is_array() && std::ranges::find(out["type"], "string") != out["type"].end();
  if (format != schema.end() && !is_string_too) TRY(read_number_format(*format, is_integer, where, out));
  return out.contains("multipleOf") ? count(n_multiples(out)) : Status();
}

/// OpenAPI's formats of numbers become their ranges.
Status SchemaReader::read_number_format(const Json& format, bool is_integer, const std::string& where,
                                        Json& out) const {
  if (format == "int32" && is_integer) {
    if (!out.contains("minimum")) out["minimum"] = -2147483648ll;
    if (!out.contains("maximum")) out["maximum"] = 2147483647ll;
  } else if (format != "int64" && format != "float" && format != "double") {
    return schema_refused(where, "answers cannot be held to the 'format' of a number");
  } else if (format == "int64" && is_integer) {
    if (!out.contains("minimum")) out["minimum"] = -999'999'999'999'999'999ll;
    if (!out.contains("maximum")) out["maximum"] = 999'999'999'999'999'999ll;
  }
  return {};
}

}  // namespace commissure
