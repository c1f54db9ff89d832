#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <utility>

#include "grammar/schema_keywords.h"
#include "grammar/schema_reader.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxParts = 10'000;
constexpr std::size_t kMaxExpandedBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxLooks = 2'000'000;
/// Repetitions that are counted one by one.
constexpr std::int64_t kMaxRepeats = 100'000;

constexpr std::array<std::string_view, 7> kTypes = {"null",   "boolean", "object", "array",
                                                    "number", "string",  "integer"};

bool has_type(const Json& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (!value.is_number()) return false;
  return type == "number" || value.is_number_integer() || value.get<double>() == std::floor(value.get<double>());
}

/// The value of a name that `object` does not have: without a search for it, whose cost grows with the object.
Json& append_member(Json& object, const std::string& name) {
  Json::object_t::Container& members = object.get_ref<Json::object_t&>();
  return members.emplace_back(name, nullptr).second;
}

enum class Place { kSchema, kSchemas, kElsewhere };

/// What lies below a keyword of a schema: one schema, or several with names or numbers.
Place place_below(std::string_view keyword) {
  for (const char* one : {"items", "additionalProperties"}) {
    if (keyword == one) return Place::kSchema;
  }
  for (const char* several : {"$defs", "definitions", "properties", "prefixItems", "anyOf"}) {
    if (keyword == several) return Place::kSchemas;
  }
  return Place::kElsewhere;
}

}  // namespace

std::string below(const std::string& where, std::string_view keyword, std::string_view name) {
  std::string path = where + "." + std::string(keyword);
  if (!name.empty()) path += "." + std::string(name.substr(0, 64));
  return path;
}

Status SchemaReader::count(std::size_t n_parts) const {
  work_.n_parts += n_parts;
  if (work_.n_parts <= kMaxParts) return {};
  return Error(Code::kResourceExhausted, "the schema has more than ", kMaxParts, " parts");
}

Status SchemaReader::check_keywords(const Json& schema, const std::string& where) const {
  for (const auto& [keyword, value] : schema.items()) {
    const KeywordRole role = role_of(keyword);
    if (role == KeywordRole::kRefused || (role == KeywordRole::kNeutral && !is_neutral(keyword, value))) {
      return schema_refused(where, "answers cannot be held to the keyword '", keyword.substr(0, 64), "'");
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
    return schema_refused(where, "answers cannot be held to '", other, "' beside '", keyword, "'");
  }
  return {};
}

/// Definitions keep their places, where references look for them.
Result<Json> SchemaReader::read(const Json& schema, const std::string& where, int depth) {
  if (depth > kMaxSchemaDepth) return schema_refused(where, "nested deeper than ", kMaxSchemaDepth, " schemas");
  TRY(count(1));
  if (schema == true) return Json::object();
  if (schema == false) return schema_refused(where, "no value is accepted");
  if (!schema.is_object()) return schema_refused(where, "must be an object, true or false");
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
    if (!found->is_object()) return schema_refused(where, "'", keyword, "' must be an object");
    Json definitions = Json::object();
    for (const auto& [name, value] : found->items()) {
      append_member(definitions, name) = TRY(read(value, below(where, keyword, name), depth + 1));
    }
    out[keyword] = std::move(definitions);
  }
  return out;
}

Result<Json> SchemaReader::read_reference(const Json& schema, const std::string& where) const {
  TRY(stands_alone(schema, "$ref", false, where));
  const Json* target = &schema;
  for (int n = 0; target->is_object() && target->contains("$ref"); ++n) {
    if (n > kMaxSchemaDepth) return schema_refused(where, "'$ref' leads back to itself");
    target = TRY(resolve(*target, where));
  }
  return Json{{"$ref", schema["$ref"]}};
}

/// Only by the ways on which all schemas were read, and stand in the result as they stand here: what lies elsewhere, as
/// a value of an enumeration, would reach the compiler unread. Objects are searched name by name, so their sizes count.
Result<const Json*> SchemaReader::find(const std::string& path, const std::string& where) const {
  try {
    Json::json_pointer all(path);
    std::vector<std::string> names;
    for (; !all.empty(); all.pop_back()) names.push_back(all.back());
    const Json* found = &root_;
    Place place = Place::kSchema;
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      work_.n_looks += found->is_object() ? found->size() : 1;
      if (work_.n_looks > kMaxLooks) {
        return Error(Code::kResourceExhausted, "the schema at ", where, ": following all '$ref' takes more than ",
                     kMaxLooks, " looks at names");
      }
      place = place == Place::kSchema ? place_below(*name) : Place::kSchema;
      if (place == Place::kElsewhere) return nullptr;
      const Json::json_pointer step = Json::json_pointer() / *name;
      if (!found->contains(step)) return nullptr;
      found = &found->at(step);
    }
    return place == Place::kSchema ? found : nullptr;
  } catch (const Json::exception&) {
    return nullptr;  // no pointer
  }
}

Result<const Json*> SchemaReader::resolve(const Json& schema, const std::string& where) const {
  const Json& reference = schema["$ref"];
  if (!reference.is_string()) return schema_refused(where, "'$ref' must be a string");
  const std::string& uri = reference.get_ref<const std::string&>();
  if (!uri.starts_with('#') || (uri.size() > 1 && uri[1] != '/')) {
    return schema_refused(where, "'$ref' must point into this schema, as in \"#/$defs/name\"");
  }
  if (uri.find('%') != std::string::npos) return schema_refused(where, "'$ref' must not have percent signs");
  if (const Json* target = TRY(find(uri.substr(1), where)); target != nullptr) return target;
  return schema_refused(where, "'$ref' points to \"", uri.substr(0, 100),
                        "\", where there is nothing that answers can be held to");
}

Result<const Json*> SchemaReader::expand(const Json& schema, const std::string& where) const {
  const Json* target = TRY(resolve(schema, where));
  work_.n_expanded_bytes += dump_json(*target).size();
  if (work_.n_expanded_bytes <= kMaxExpandedBytes) return target;
  return Error(Code::kResourceExhausted, "the schema at ", where,
               ": references in 'oneOf' and 'allOf' stand for more than ", kMaxExpandedBytes, " bytes");
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
  if (!values.is_array() || values.empty()) return schema_refused(where, "'enum' must be an array with a value");
  TRY(count(values.size()));
  Json kept = Json::array();
  std::ranges::copy_if(values, std::back_inserter(kept), fits);
  if (kept.empty()) return schema_refused(where, "no value of '", keyword, "' is of its 'type'");
  return Json{{"enum", std::move(kept)}};
}

/// A type beside the alternatives goes into each. References are looked up one level, so that the branches of oneOf can
/// be seen to exclude each other.
Result<Json> SchemaReader::read_alternatives(const Json& schema, std::string_view keyword, const std::string& where,
                                             int depth) {
  TRY(stands_alone(schema, keyword, true, where));
  const Json& branches = schema[std::string(keyword)];
  if (!branches.is_array() || branches.empty())
    return schema_refused(where, "'", keyword, "' must be an array with a schema");
  Json read_branches = Json::array();
  std::set<std::string> seen;
  bool is_apart = true;
  for (std::size_t i = 0; i < branches.size(); ++i) {
    const std::string place = where + "." + std::string(keyword) + "[" + std::to_string(i) + "]";
    Json branch = branches[i];
    if (keyword == "oneOf" && branch.is_object() && branch.contains("$ref")) {
      TRY(stands_alone(branch, "$ref", false, place));
      branch = *TRY(expand(branch, place));
    }
    if (branch == true) branch = Json::object();
    if (const auto type = schema.find("type"); type != schema.end() && branch.is_object()) {
      if (branch.contains("type") && branch["type"] != *type)
        return schema_refused(place, "another 'type' than around it");
      if (branch.contains("$ref") || branch.contains("anyOf") || branch.contains("oneOf") || branch.contains("allOf"))
        return schema_refused(place, "answers cannot be held to 'type' beside '", keyword, "' here");
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

/// None where it says nothing of the value.
Result<SchemaReader::Names> SchemaReader::read_types(const Json& schema, const std::string& where) const {
  Names types;
  if (const auto found = schema.find("type"); found != schema.end()) {
    const Json list = found->is_array() ? *found : Json::array({*found});
    for (const Json& type : list) {
      const bool is_known = type.is_string() && std::ranges::find(kTypes, type.get<std::string>()) != kTypes.end();
      if (!is_known) return schema_refused(where, "'type' must be of ", fmt::format("{}", fmt::join(kTypes, ", ")));
      if (std::ranges::find(types, type.get<std::string>()) == types.end()) types.push_back(type.get<std::string>());
    }
    if (types.empty()) return schema_refused(where, "'type' must not be empty");
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
    return schema_refused(where, fmt::format("has keywords of {}: give its 'type'", fmt::join(types, " and ")));
  return types;
}

Status SchemaReader::read_counts(const Json& schema, std::span<const std::string_view> keywords,
                                 const std::string& where, Json& out) const {
  for (const std::string_view keyword : keywords) {
    const auto found = schema.find(keyword);
    if (found == schema.end()) continue;
    const bool is_count = found->is_number_integer() && *found >= 0;
    if (!is_count) return schema_refused(where, "'", keyword, "' must be a whole number of at least 0");
    if (*found > kMaxRepeats) return schema_refused(where, "'", keyword, "' may be at most ", kMaxRepeats);
    out[std::string(keyword)] = *found;
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
  if (!first->is_array()) return schema_refused(where, "'prefixItems' must be an array");
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
  TRY(read_name_patterns(schema, where, depth, out));
  const std::size_t n_required = out.contains("required") ? out["required"].size() : 0;
  const bool is_open = !out.contains("properties") || out.value("additionalProperties", Json(true)) != false;
  if (is_open && out.contains("minProperties") && out["minProperties"] > std::max<std::size_t>(n_required, 1)) {
    return schema_refused(where, "answers cannot be held to a 'minProperties' above 1 where any names may stand");
  }
  return {};
}

Status SchemaReader::read_name_patterns(const Json& schema, const std::string& where, int depth, Json& out) {
  const bool has_patterns = schema.contains("patternProperties"), has_names = schema.contains("propertyNames");
  if (has_patterns) {
    const Json& patterns = schema["patternProperties"];
    if (!patterns.is_object()) return schema_refused(where, "'patternProperties' must be an object");
    if (patterns.size() > 1 || has_names || out.contains("properties")) {
      return schema_refused(where,
                            "answers cannot be held to 'patternProperties' of several patterns, or beside other names");
    }
    for (const auto& [pattern, value] : patterns.items()) {
      const std::string place = below(where, "patternProperties", pattern);
      out["patternProperties"][TRY(read_pattern(pattern, place))] = TRY(read(value, place, depth + 1));
    }
    out["additionalProperties"] = false;
    out.erase("unevaluatedProperties");
  }
  if (has_names && out.contains("properties")) {
    return schema_refused(where, "answers cannot be held to 'propertyNames' beside 'properties'");
  }
  if (has_names) TRY(read_member(schema, "propertyNames", where, depth, out));
  if (has_names && !out["propertyNames"].is_object()) {
    return schema_refused(where, "'propertyNames' must be an object");
  }
  return {};
}

Status SchemaReader::read_properties(const Json& schema, const std::string& where, int depth, Json& out) {
  Json named = Json::object();
  std::set<std::string> required;
  if (const auto found = schema.find("required"); found != schema.end()) {
    if (!found->is_array()) return schema_refused(where, "'required' must be an array of strings");
    TRY(count(found->size()));
    Json names = Json::array();
    for (const Json& name : *found) {
      if (!name.is_string()) return schema_refused(where, "'required' must be an array of strings");
      if (required.insert(name.get<std::string>()).second) names.push_back(name);
    }
    if (!names.empty()) out["required"] = std::move(names);
  }
  const bool is_closed = schema.value("additionalProperties", Json(false)) == false &&
                         schema.value("unevaluatedProperties", Json(false)) == false;
  if (const auto found = schema.find("properties"); found != schema.end()) {
    if (!found->is_object()) return schema_refused(where, "'properties' must be an object");
    for (const auto& [name, value] : found->items()) {
      if (value == false && is_closed && !required.contains(name)) continue;  // absent, as those that are not named
      append_member(named, name) = TRY(read(value, below(where, "properties", name), depth + 1));
      required.erase(name);
    }
  }
  if (!required.empty()) TRY(read_required(schema, where, required, out, named));
  if (!schema.contains("properties") && named.empty()) return {};
  if (!named.empty()) out["properties"] = std::move(named);
  if (!out.contains("additionalProperties") && !out.contains("unevaluatedProperties")) {
    out["additionalProperties"] = false;
  }
  return {};
}

/// Required names without a schema get one, in their order.
Status SchemaReader::read_required(const Json& schema, const std::string& where, const std::set<std::string>& missing,
                                   const Json& out, Json& named) const {
  if (schema.contains("patternProperties") || schema.contains("propertyNames")) {
    return schema_refused(where, "answers cannot be held to 'required' names beside patterns of names");
  }
  const Json others = out.value("additionalProperties", Json(true));
  for (const Json& name : out["required"]) {
    const std::string& text = name.get_ref<const std::string&>();
    if (!missing.contains(text)) continue;
    if (others == false) {
      return schema_refused(where, "'required' asks for '", text.substr(0, 64), "', which may not be");
    }
    append_member(named, text) = others.is_object() ? others : Json::object();
  }
  return {};
}

Result<Json> enforceable_schema(const Json& schema, SchemaWork& work) {
  return SchemaReader(schema, work).read(schema, "$", 0);
}

Result<Json> enforceable_schema(const Json& schema) {
  SchemaWork work;
  return enforceable_schema(schema, work);
}

}  // namespace commissure
