#include <algorithm>
#include <array>
#include <utility>

#include "grammar/grammar.h"
#include "grammar/schema_reader.h"

// The part of the reader that deals with the keywords of each type.

namespace commissure {

namespace {

/// Repetitions that are counted one by one.
constexpr std::int64_t kMaxRepeats = 100'000;

}  // namespace

Status SchemaReader::read_counts(const Json& schema, std::span<const std::string_view> keywords,
                                 const std::string& where, Json& out) const {
  for (const std::string_view keyword : keywords) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    const bool is_count = found->is_number_integer() && *found >= 0;
    if (!is_count) return refused_schema(where, "'", keyword, "' must be a whole number of at least 0");
    if (*found > kMaxRepeats) return refused_schema(where, "'", keyword, "' may be at most ", kMaxRepeats);
    out[std::string(keyword)] = *found;
  }
  return {};
}

Status SchemaReader::read_string(const Json& schema, const std::string& where, Json& out) const {
  static constexpr std::array<std::string_view, 2> kCounts = {"minLength", "maxLength"};
  TRY(read_counts(schema, kCounts, where, out));
  for (const char* keyword : {"pattern", "format"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_string()) return refused_schema(where, "'", keyword, "' must be a string");
    const std::string& text = found->get_ref<const std::string&>();
    const bool is_format = keyword == std::string_view("format");
    if (is_format && out.contains("type") && out["type"] != "string") {
      if (schema.contains("minimum") || schema.contains("maximum"))
        return refused_schema(where, "'format' beside a number");
    }
    if (is_format && !is_known_format(text)) {
      return refused_schema(where, "answers cannot be held to the 'format' \"", text.substr(0, 64), "\"");
    }
    if (text.size() > kMaxRegexBytes)
      return refused_schema(where, "'pattern' has more than ", kMaxRegexBytes, " bytes");
    out[keyword] = text;
  }
  const bool has_length = out.contains("minLength") || out.contains("maxLength");
  const bool has_pattern = out.contains("pattern"), has_format = out.contains("format");
  if ((has_length && (has_pattern || has_format)) || (has_pattern && has_format)) {
    return refused_schema(where, "answers cannot be held to more than one of 'pattern', 'format' and a length");
  }
  return {};
}

/// OpenAPI's formats of numbers become their ranges.
Status SchemaReader::read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const {
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_number()) return refused_schema(where, "'", keyword, "' must be a number");
    out[keyword] = *found;
  }
  const auto format = schema.find("format");
  const bool is_string_too = out["type"].is_array() && std::ranges::find(out["type"], "string") != out["type"].end();
  if (format == schema.end() || is_string_too) return {};
  if (*format == "int32" && is_integer) {
    if (!out.contains("minimum")) out["minimum"] = -2147483648ll;
    if (!out.contains("maximum")) out["maximum"] = 2147483647ll;
  } else if (*format != "int64" && *format != "float" && *format != "double") {
    return refused_schema(where, "answers cannot be held to the 'format' of a number");
  } else if (*format == "int64" && is_integer) {
    if (!out.contains("minimum")) out["minimum"] = -999'999'999'999'999'999ll;
    if (!out.contains("maximum")) out["maximum"] = 999'999'999'999'999'999ll;
  }
  return {};
}

Status SchemaReader::read_member(const Json& schema, std::string_view keyword, const std::string& where, int depth,
                                 Json& out) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return {};
  Json& member = out[std::string(keyword)];
  member = *found;
  if (!found->is_boolean()) member = TRY(read(*found, place_below(where, keyword), depth + 1));
  return {};
}

Status SchemaReader::read_array(const Json& schema, const std::string& where, int depth, Json& out) {
  static constexpr std::array<std::string_view, 2> kCounts = {"minItems", "maxItems"};
  TRY(read_counts(schema, kCounts, where, out));
  TRY(read_member(schema, "items", where, depth, out));
  TRY(read_member(schema, "unevaluatedItems", where, depth, out));
  const auto first = schema.find("prefixItems");
  if (first == schema.end()) return {};
  if (!first->is_array()) return refused_schema(where, "'prefixItems' must be an array");
  out["prefixItems"] = Json::array();
  for (std::size_t i = 0; i < first->size(); ++i) {
    const std::string place = place_below(where, "prefixItems") + "[" + std::to_string(i) + "]";
    out["prefixItems"].push_back(TRY(read((*first)[i], place, depth + 1)));
  }
  return {};
}

/// Properties that are not named are left out where they may be: an answer need not have them.
Status SchemaReader::read_object(const Json& schema, const std::string& where, int depth, Json& out) {
  static constexpr std::array<std::string_view, 2> kCounts = {"minProperties", "maxProperties"};
  TRY(read_counts(schema, kCounts, where, out));
  TRY(read_member(schema, "additionalProperties", where, depth, out));
  TRY(read_member(schema, "unevaluatedProperties", where, depth, out));
  TRY(read_properties(schema, where, depth, out));
  const bool has_patterns = schema.contains("patternProperties"), has_names = schema.contains("propertyNames");
  if (has_patterns) {
    const Json& patterns = schema["patternProperties"];
    if (!patterns.is_object()) return refused_schema(where, "'patternProperties' must be an object");
    if (patterns.size() > 1 || has_names || out.contains("properties")) {
      return refused_schema(where,
                            "answers cannot be held to 'patternProperties' of several patterns, or beside other names");
    }
    for (const auto& [pattern, value] : patterns.items()) {
      out["patternProperties"][pattern] = TRY(read(value, place_below(where, "patternProperties", pattern), depth + 1));
    }
    out["additionalProperties"] = false;
    out.erase("unevaluatedProperties");
  }
  if (has_names && out.contains("properties")) {
    return refused_schema(where, "answers cannot be held to 'propertyNames' beside 'properties'");
  }
  if (has_names) TRY(read_member(schema, "propertyNames", where, depth, out));
  if (has_names && !out["propertyNames"].is_object()) return refused_schema(where, "'propertyNames' must be an object");
  const std::size_t n_required = out.contains("required") ? out["required"].size() : 0;
  const bool is_open = !out.contains("properties") || out.value("additionalProperties", Json(true)) != false;
  if (is_open && out.contains("minProperties") && out["minProperties"] > std::max<std::size_t>(n_required, 1)) {
    return refused_schema(where, "answers cannot be held to a 'minProperties' above 1 where any names may stand");
  }
  return {};
}

Status SchemaReader::read_properties(const Json& schema, const std::string& where, int depth, Json& out) {
  Json named = Json::object();
  const auto required = schema.find("required");
  const auto is_required = [&](const std::string& name) {
    return required != schema.end() && std::ranges::find(*required, Json(name)) != required->end();
  };
  const bool is_closed = schema.value("additionalProperties", Json(false)) == false &&
                         schema.value("unevaluatedProperties", Json(false)) == false;
  if (const auto found = schema.find("properties"); found != schema.end()) {
    if (!found->is_object()) return refused_schema(where, "'properties' must be an object");
    for (const auto& [name, value] : found->items()) {
      if (value == false && is_closed && !is_required(name)) continue;  // absent, as those that are not named
      named[name] = TRY(read(value, place_below(where, "properties", name), depth + 1));
    }
  }
  if (required != schema.end()) {
    if (!required->is_array()) return refused_schema(where, "'required' must be an array of strings");
    Json names = Json::array();
    for (const Json& name : *required) {
      if (!name.is_string()) return refused_schema(where, "'required' must be an array of strings");
      if (std::ranges::find(names, name) != names.end()) continue;
      names.push_back(name);
      const std::string& text = name.get_ref<const std::string&>();
      if (named.contains(text)) continue;
      if (schema.contains("patternProperties") || schema.contains("propertyNames")) {
        return refused_schema(where, "answers cannot be held to 'required' names beside patterns of names");
      }
      const Json others = out.value("additionalProperties", Json(true));
      if (others == false)
        return refused_schema(where, "'required' asks for '", text.substr(0, 64), "', which may not be");
      named[text] = others.is_object() ? others : Json::object();
    }
    if (!names.empty()) out["required"] = std::move(names);
  }
  if (!schema.contains("properties") && named.empty()) return {};
  if (!named.empty()) out["properties"] = std::move(named);
  if (!out.contains("additionalProperties") && !out.contains("unevaluatedProperties")) {
    out["additionalProperties"] = false;
  }
  return {};
}

}  // namespace commissure
