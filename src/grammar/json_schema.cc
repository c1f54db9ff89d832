#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <utility>

#include "core/index.h"
#include "grammar/grammar.h"
#include "grammar/schema_keywords.h"

namespace commissure {

namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 10'000;
/// Repetitions that are counted one by one.
constexpr std::int64_t kMaxRepeats = 100'000;

constexpr std::array<std::string_view, 7> kTypes = {"null",   "boolean", "object", "array",
                                                    "number", "string",  "integer"};

template <typename... What>
Error refused(const std::string& where, const What&... what) {
  return Error(Code::kInvalidArgument, "the schema at ", where, ": ", what...);
}

std::string below(const std::string& where, std::string_view keyword, std::string_view name = {}) {
  std::string path = where + "." + std::string(keyword);
  if (!name.empty()) path += "." + std::string(name.substr(0, 64));
  return path;
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (!value.is_number()) return false;
  return type == "number" || value.is_number_integer() || value.get<double>() == std::floor(value.get<double>());
}

/// Reads a schema into one that says the same, or less, in the keywords and places that the compiler heeds. It heeds of
/// $ref, const, enum, anyOf, oneOf, allOf and type the first alone, and some keywords not beside others.
class SchemaReader {
 public:
  explicit SchemaReader(const Json& root) : root_(root) {}

  Result<Json> read(const Json& schema, const std::string& where, int depth);

 private:
  using Names = std::vector<std::string>;

  Status check_keywords(const Json& schema, const std::string& where) const;
  Status stands_alone(const Json& schema, std::string_view keyword, bool may_have_type, const std::string& where) const;
  Result<Json> read_alternatives(const Json& schema, std::string_view keyword, const std::string& where, int depth);
  Result<Json> read_all_of(const Json& schema, const std::string& where, int depth);
  Status merge(const Json& part, const std::string& where, Json& merged) const;
  Result<Json> read_reference(const Json& schema, const std::string& where) const;
  Result<const Json*> resolve(const Json& schema, const std::string& where) const;
  Result<Json> read_values(const Json& schema, const std::string& where) const;
  Result<Names> read_types(const Json& schema, const std::string& where) const;
  Status read_string(const Json& schema, const std::string& where, Json& out) const;
  Status read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const;
  Status read_array(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_object(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_properties(const Json& schema, const std::string& where, int depth, Json& out);
  Status read_counts(const Json& schema, std::span<const std::string_view> keywords, const std::string& where,
                     Json& out) const;
  /// A schema, or true or false, under `keyword`.
  Status read_member(const Json& schema, std::string_view keyword, const std::string& where, int depth, Json& out);

  const Json& root_;
  std::size_t n_nodes_ = 0;
};

Status SchemaReader::check_keywords(const Json& schema, const std::string& where) const {
  for (const auto& [keyword, value] : schema.items()) {
    const KeywordRole role = role_of(keyword);
    if (role == KeywordRole::kRefused || (role == KeywordRole::kNeutral && !is_neutral(keyword, value))) {
      return refused(where, "answers cannot be held to the keyword '", keyword.substr(0, 64), "'");
    }
  }
  return {};
}

Status SchemaReader::stands_alone(const Json& schema, std::string_view keyword, bool may_have_type,
                                  const std::string& where) const {
  for (const auto& [other, value] : schema.items()) {
    const KeywordRole role = role_of(other);
    if (other == keyword || role == KeywordRole::kAnnotation || role == KeywordRole::kDefinitions ||
        role == KeywordRole::kNeutral || (may_have_type && other == "type"))
      continue;
    return refused(where, "answers cannot be held to '", other, "' beside '", keyword, "'");
  }
  return {};
}

/// Definitions keep their places, where references look for them.
Result<Json> SchemaReader::read(const Json& schema, const std::string& where, int depth) {
  if (depth > kMaxDepth) return refused(where, "nested deeper than ", kMaxDepth, " schemas");
  if (++n_nodes_ > kMaxNodes) return Error(Code::kResourceExhausted, "the schema has more than ", kMaxNodes, " parts");
  if (schema == true) return Json::object();
  if (schema == false) return refused(where, "no value is accepted");
  if (!schema.is_object()) return refused(where, "must be an object, true or false");
  TRY(check_keywords(schema, where));
  Json out = Json::object();
  if (schema.contains("$ref")) {
    out = TRY(read_reference(schema, where));
  } else if (schema.contains("const") || schema.contains("enum")) {
    out = TRY(read_values(schema, where));
  } else if (schema.contains("anyOf")) {
    out = TRY(read_alternatives(schema, "anyOf", where, depth));
  } else if (schema.contains("oneOf")) {
    out = TRY(read_alternatives(schema, "oneOf", where, depth));
  } else if (schema.contains("allOf")) {
    out = TRY(read_all_of(schema, where, depth));
  } else {
    const Names types = TRY(read_types(schema, where));
    if (types.size() == 1) out["type"] = types.front();
    if (types.size() > 1) out["type"] = types;
    for (const std::string& type : types) {
      if (type == "string") TRY(read_string(schema, where, out));
      if (type == "number" || type == "integer") TRY(read_number(schema, type == "integer", where, out));
      if (type == "array") TRY(read_array(schema, where, depth, out));
      if (type == "object") TRY(read_object(schema, where, depth, out));
    }
  }
  for (const char* keyword : {"$defs", "definitions"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_object()) return refused(where, "'", keyword, "' must be an object");
    out[keyword] = Json::object();
    for (const auto& [name, value] : found->items()) {
      out[keyword][name] = TRY(read(value, below(where, keyword, name), depth + 1));
    }
  }
  return out;
}

Result<Json> SchemaReader::read_reference(const Json& schema, const std::string& where) const {
  TRY(stands_alone(schema, "$ref", false, where));
  const Json* target = &schema;
  for (int n = 0; target->is_object() && target->contains("$ref"); ++n) {
    if (n > kMaxDepth) return refused(where, "'$ref' leads back to itself");
    target = TRY(resolve(*target, where));
  }
  return Json{{"$ref", schema["$ref"]}};
}

Result<const Json*> SchemaReader::resolve(const Json& schema, const std::string& where) const {
  const Json& reference = schema["$ref"];
  if (!reference.is_string()) return refused(where, "'$ref' must be a string");
  const std::string& uri = reference.get_ref<const std::string&>();
  if (!uri.starts_with('#') || (uri.size() > 1 && uri[1] != '/')) {
    return refused(where, "'$ref' must point into this schema, as in \"#/$defs/name\"");
  }
  if (uri.find('%') != std::string::npos) return refused(where, "'$ref' must not have percent signs");
  try {
    const Json::json_pointer pointer(uri.substr(1));
    if (root_.contains(pointer)) return &root_.at(pointer);
  } catch (const Json::exception&) {  // no pointer
  }
  return refused(where, "'$ref' points to \"", uri.substr(0, 100), "\", where there is nothing");
}

Result<Json> SchemaReader::read_values(const Json& schema, const std::string& where) const {
  const bool is_const = schema.contains("const");
  const char* keyword = is_const ? "const" : "enum";
  TRY(stands_alone(schema, keyword, true, where));
  const Names types = TRY(read_types(schema, where));
  const auto fits = [&](const Json& value) {
    return types.empty() || std::ranges::any_of(types, [&](const std::string& type) { return has_type(value, type); });
  };
  Json values = is_const ? Json::array({schema["const"]}) : schema["enum"];
  if (!values.is_array() || values.empty()) return refused(where, "'enum' must be an array with a value");
  Json kept = Json::array();
  std::ranges::copy_if(values, std::back_inserter(kept), fits);
  if (kept.empty()) return refused(where, "no value of '", keyword, "' is of its 'type'");
  return Json{{"enum", std::move(kept)}};
}

/// A type beside the alternatives goes into each. References are looked up one level, so that the branches of oneOf can
/// be seen to exclude each other.
Result<Json> SchemaReader::read_alternatives(const Json& schema, std::string_view keyword, const std::string& where,
                                             int depth) {
  TRY(stands_alone(schema, keyword, true, where));
  const Json& branches = schema[std::string(keyword)];
  if (!branches.is_array() || branches.empty()) return refused(where, "'", keyword, "' must be an array with a schema");
  Json read_branches = Json::array();
  std::set<std::string> seen;
  bool is_apart = true;
  for (std::size_t i = 0; i < branches.size(); ++i) {
    const std::string place = where + "." + std::string(keyword) + "[" + std::to_string(i) + "]";
    Json branch = branches[i];
    if (keyword == "oneOf" && branch.is_object() && branch.contains("$ref")) {
      TRY(stands_alone(branch, "$ref", false, place));
      branch = *TRY(resolve(branch, place));
    }
    if (branch == true) branch = Json::object();
    if (const auto type = schema.find("type"); type != schema.end() && branch.is_object()) {
      if (branch.contains("type") && branch["type"] != *type) return refused(place, "another 'type' than around it");
      if (branch.contains("$ref") || branch.contains("anyOf") || branch.contains("oneOf") || branch.contains("allOf"))
        return refused(place, "answers cannot be held to 'type' beside '", keyword, "' here");
      branch["type"] = *type;
    }
    read_branches.push_back(TRY(read(branch, place, depth + 1)));
    const Json* type = find_member(read_branches.back(), "type");
    const bool has_one = type != nullptr && type->is_string();
    std::string kind = has_one ? type->get<std::string>() : "";
    if (kind == "integer") kind = "number";
    is_apart = is_apart && has_one && seen.insert(kind).second;
  }
  // Branches of different types exclude each other, which the compiler does not see of objects.
  return Json{{keyword == "oneOf" && !is_apart ? "oneOf" : "anyOf", std::move(read_branches)}};
}

/// All parts become one schema, where none of them repeats a keyword of another.
Result<Json> SchemaReader::read_all_of(const Json& schema, const std::string& where, int depth) {
  const Json& parts = schema["allOf"];
  if (!parts.is_array() || parts.empty()) return refused(where, "'allOf' must be an array with a schema");
  Json merged = Json::object();
  Json around = schema;
  around.erase("allOf");
  for (const char* keyword : {"$defs", "definitions"}) around.erase(keyword);
  if (parts.size() == 1 && parts[0].is_object() && parts[0].contains("$ref")) {
    TRY(stands_alone(schema, "allOf", false, where));
    return read(parts[0], where + ".allOf[0]", depth + 1);
  }
  TRY(merge(around, where, merged));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string place = where + ".allOf[" + std::to_string(i) + "]";
    const Json* part = &parts[i];
    for (int n = 0; part->is_object() && part->contains("$ref"); ++n) {
      if (n > kMaxDepth) return refused(place, "'$ref' leads back to itself");
      TRY(stands_alone(*part, "$ref", false, place));
      part = TRY(resolve(*part, place));
    }
    if (!part->is_object()) return refused(place, "must be an object");
    TRY(merge(*part, place, merged));
  }
  return read(merged, where, depth + 1);
}

Status SchemaReader::merge(const Json& part, const std::string& where, Json& merged) const {
  TRY(check_keywords(part, where));
  for (const auto& [keyword, value] : part.items()) {
    const KeywordRole role = role_of(keyword);
    if (role == KeywordRole::kAnnotation || role == KeywordRole::kNeutral || role == KeywordRole::kDefinitions)
      continue;
    const bool is_closed = (keyword == "additionalProperties" || keyword == "unevaluatedProperties") && value != true;
    const auto found = merged.find(keyword);
    if (keyword == "properties" && found != merged.end() && value.is_object() && found->is_object()) {
      for (const auto& [name, property] : value.items()) {
        if (found->contains(name) && (*found)[name] != property)
          return refused(where, "answers cannot be held to two schemas for the property '", name.substr(0, 64), "'");
        (*found)[name] = property;
      }
    } else if (keyword == "required" && found != merged.end() && value.is_array() && found->is_array()) {
      for (const Json& name : value) {
        if (std::ranges::find(*found, name) == found->end()) found->push_back(name);
      }
    } else if (is_closed || (found != merged.end() && *found != value)) {
      return refused(where, "answers cannot be held to '", keyword, "' in 'allOf' here");
    } else {
      merged[keyword] = value;
    }
  }
  return {};
}

/// None where it says nothing of the value.
Result<SchemaReader::Names> SchemaReader::read_types(const Json& schema, const std::string& where) const {
  Names types;
  if (const auto found = schema.find("type"); found != schema.end()) {
    const Json list = found->is_array() ? *found : Json::array({*found});
    for (const Json& type : list) {
      const bool is_known = type.is_string() && std::ranges::find(kTypes, type.get<std::string>()) != kTypes.end();
      if (!is_known) return refused(where, "'type' must be of ", fmt::format("{}", fmt::join(kTypes, ", ")));
      if (std::ranges::find(types, type.get<std::string>()) == types.end()) types.push_back(type.get<std::string>());
    }
    if (types.empty()) return refused(where, "'type' must not be empty");
    return types;
  }
  const auto add = [&](std::string_view type) {
    if (std::ranges::find(types, type) == types.end()) types.emplace_back(type);
  };
  for (const auto& [keyword, value] : schema.items()) {
    switch (role_of(keyword)) {
      case KeywordRole::kString: add("string"); break;
      case KeywordRole::kNumber: add("number"); break;
      case KeywordRole::kArray: add("array"); break;
      case KeywordRole::kObject: add("object"); break;
      default: break;
    }
  }
  if (types.size() > 1)
    return refused(where, fmt::format("has keywords of {}: give its 'type'", fmt::join(types, " and ")));
  return types;
}

Status SchemaReader::read_counts(const Json& schema, std::span<const std::string_view> keywords,
                                 const std::string& where, Json& out) const {
  for (const std::string_view keyword : keywords) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    const bool is_count = found->is_number_integer() && *found >= 0;
    if (!is_count) return refused(where, "'", keyword, "' must be a whole number of at least 0");
    if (*found > kMaxRepeats) return refused(where, "'", keyword, "' may be at most ", kMaxRepeats);
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
    if (!found->is_string()) return refused(where, "'", keyword, "' must be a string");
    const std::string& text = found->get_ref<const std::string&>();
    const bool is_format = keyword == std::string_view("format");
    if (is_format && out.contains("type") && out["type"] != "string") {
      if (schema.contains("minimum") || schema.contains("maximum")) return refused(where, "'format' beside a number");
    }
    if (is_format && !is_known_format(text)) {
      return refused(where, "answers cannot be held to the 'format' \"", text.substr(0, 64), "\"");
    }
    if (text.size() > kMaxRegexBytes) return refused(where, "'pattern' has more than ", kMaxRegexBytes, " bytes");
    out[keyword] = text;
  }
  const bool has_length = out.contains("minLength") || out.contains("maxLength");
  const bool has_pattern = out.contains("pattern"), has_format = out.contains("format");
  if ((has_length && (has_pattern || has_format)) || (has_pattern && has_format)) {
    return refused(where, "answers cannot be held to more than one of 'pattern', 'format' and a length");
  }
  return {};
}

/// OpenAPI's formats of numbers become their ranges.
Status SchemaReader::read_number(const Json& schema, bool is_integer, const std::string& where, Json& out) const {
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    if (!found->is_number()) return refused(where, "'", keyword, "' must be a number");
    out[keyword] = *found;
  }
  const auto format = schema.find("format");
  const bool is_string_too = out["type"].is_array() && std::ranges::find(out["type"], "string") != out["type"].end();
  if (format == schema.end() || is_string_too) return {};
  if (*format == "int32" && is_integer) {
    if (!out.contains("minimum")) out["minimum"] = -2147483648ll;
    if (!out.contains("maximum")) out["maximum"] = 2147483647ll;
  } else if (*format != "int64" && *format != "float" && *format != "double") {
    return refused(where, "answers cannot be held to the 'format' of a number");
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
  if (!found->is_boolean()) member = TRY(read(*found, below(where, keyword), depth + 1));
  return {};
}

Status SchemaReader::read_array(const Json& schema, const std::string& where, int depth, Json& out) {
  static constexpr std::array<std::string_view, 2> kCounts = {"minItems", "maxItems"};
  TRY(read_counts(schema, kCounts, where, out));
  TRY(read_member(schema, "items", where, depth, out));
  TRY(read_member(schema, "unevaluatedItems", where, depth, out));
  const auto first = schema.find("prefixItems");
  if (first == schema.end()) return {};
  if (!first->is_array()) return refused(where, "'prefixItems' must be an array");
  out["prefixItems"] = Json::array();
  for (std::size_t i = 0; i < first->size(); ++i) {
    const std::string place = below(where, "prefixItems") + "[" + std::to_string(i) + "]";
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
    if (!patterns.is_object()) return refused(where, "'patternProperties' must be an object");
    if (patterns.size() > 1 || has_names || out.contains("properties")) {
      return refused(where, "answers cannot be held to 'patternProperties' of several patterns, or beside other names");
    }
    for (const auto& [pattern, value] : patterns.items()) {
      out["patternProperties"][pattern] = TRY(read(value, below(where, "patternProperties", pattern), depth + 1));
    }
    out["additionalProperties"] = false;
    out.erase("unevaluatedProperties");
  }
  if (has_names && out.contains("properties")) {
    return refused(where, "answers cannot be held to 'propertyNames' beside 'properties'");
  }
  if (has_names) TRY(read_member(schema, "propertyNames", where, depth, out));
  if (has_names && !out["propertyNames"].is_object()) return refused(where, "'propertyNames' must be an object");
  const std::size_t n_required = out.contains("required") ? out["required"].size() : 0;
  const bool is_open = !out.contains("properties") || out.value("additionalProperties", Json(true)) != false;
  if (is_open && out.contains("minProperties") && out["minProperties"] > std::max<std::size_t>(n_required, 1)) {
    return refused(where, "answers cannot be held to a 'minProperties' above 1 where any names may stand");
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
    if (!found->is_object()) return refused(where, "'properties' must be an object");
    for (const auto& [name, value] : found->items()) {
      if (value == false && is_closed && !is_required(name)) continue;  // absent, as those that are not named
      named[name] = TRY(read(value, below(where, "properties", name), depth + 1));
    }
  }
  if (required != schema.end()) {
    if (!required->is_array()) return refused(where, "'required' must be an array of strings");
    Json names = Json::array();
    for (const Json& name : *required) {
      if (!name.is_string()) return refused(where, "'required' must be an array of strings");
      if (std::ranges::find(names, name) != names.end()) continue;
      names.push_back(name);
      const std::string& text = name.get_ref<const std::string&>();
      if (named.contains(text)) continue;
      if (schema.contains("patternProperties") || schema.contains("propertyNames")) {
        return refused(where, "answers cannot be held to 'required' names beside patterns of names");
      }
      const Json others = out.value("additionalProperties", Json(true));
      if (others == false) return refused(where, "'required' asks for '", text.substr(0, 64), "', which may not be");
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

}  // namespace

Result<Json> enforceable_schema(const Json& schema) { return SchemaReader(schema).read(schema, "$", 0); }

}  // namespace commissure
