#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "core/index.h"
#include "grammar/grammar.h"
#include "grammar/schema_reader.h"

// The part of the reader that deals with what a schema is made of: references, values, alternatives, types.

namespace commissure {

namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 10'000;

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

}  // namespace

Status SchemaReader::check_keywords(const Json& schema, const std::string& where) const {
  for (const auto& [keyword, value] : schema.items()) {
    const KeywordRole role = role_of(keyword);
    if (role == KeywordRole::kRefused || (role == KeywordRole::kNeutral && !is_neutral(keyword, value))) {
      return refused_schema(where, "answers cannot be held to the keyword '", keyword.substr(0, 64), "'");
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
    return refused_schema(where, "answers cannot be held to '", other, "' beside '", keyword, "'");
  }
  return {};
}

/// Definitions keep their places, where references look for them.
Result<Json> SchemaReader::read(const Json& schema, const std::string& where, int depth) {
  if (depth > kMaxDepth) return refused_schema(where, "nested deeper than ", kMaxDepth, " schemas");
  if (++n_nodes_ > kMaxNodes) return Error(Code::kResourceExhausted, "the schema has more than ", kMaxNodes, " parts");
  if (schema == true) return Json::object();
  if (schema == false) return refused_schema(where, "no value is accepted");
  if (!schema.is_object()) return refused_schema(where, "must be an object, true or false");
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
    if (!found->is_object()) return refused_schema(where, "'", keyword, "' must be an object");
    out[keyword] = Json::object();
    for (const auto& [name, value] : found->items()) {
      out[keyword][name] = TRY(read(value, place_below(where, keyword, name), depth + 1));
    }
  }
  return out;
}

Result<Json> SchemaReader::read_reference(const Json& schema, const std::string& where) const {
  TRY(stands_alone(schema, "$ref", false, where));
  const Json* target = &schema;
  for (int n = 0; target->is_object() && target->contains("$ref"); ++n) {
    if (n > kMaxDepth) return refused_schema(where, "'$ref' leads back to itself");
    target = TRY(resolve(*target, where));
  }
  return Json{{"$ref", schema["$ref"]}};
}

Result<const Json*> SchemaReader::resolve(const Json& schema, const std::string& where) const {
  const Json& reference = schema["$ref"];
  if (!reference.is_string()) return refused_schema(where, "'$ref' must be a string");
  const std::string& uri = reference.get_ref<const std::string&>();
  if (!uri.starts_with('#') || (uri.size() > 1 && uri[1] != '/')) {
    return refused_schema(where, "'$ref' must point into this schema, as in \"#/$defs/name\"");
  }
  if (uri.find('%') != std::string::npos) return refused_schema(where, "'$ref' must not have percent signs");
  try {
    const Json::json_pointer pointer(uri.substr(1));
    if (root_.contains(pointer)) return &root_.at(pointer);
  } catch (const Json::exception&) {  // no pointer
  }
  return refused_schema(where, "'$ref' points to \"", uri.substr(0, 100), "\", where there is nothing");
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
  if (!values.is_array() || values.empty()) return refused_schema(where, "'enum' must be an array with a value");
  Json kept = Json::array();
  std::ranges::copy_if(values, std::back_inserter(kept), fits);
  if (kept.empty()) return refused_schema(where, "no value of '", keyword, "' is of its 'type'");
  return Json{{"enum", std::move(kept)}};
}

/// A type beside the alternatives goes into each. References are looked up one level, so that the branches of oneOf can
/// be seen to exclude each other.
Result<Json> SchemaReader::read_alternatives(const Json& schema, std::string_view keyword, const std::string& where,
                                             int depth) {
  TRY(stands_alone(schema, keyword, true, where));
  const Json& branches = schema[std::string(keyword)];
  if (!branches.is_array() || branches.empty())
    return refused_schema(where, "'", keyword, "' must be an array with a schema");
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
      if (branch.contains("type") && branch["type"] != *type)
        return refused_schema(place, "another 'type' than around it");
      if (branch.contains("$ref") || branch.contains("anyOf") || branch.contains("oneOf") || branch.contains("allOf"))
        return refused_schema(place, "answers cannot be held to 'type' beside '", keyword, "' here");
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
  if (!parts.is_array() || parts.empty()) return refused_schema(where, "'allOf' must be an array with a schema");
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
      if (n > kMaxDepth) return refused_schema(place, "'$ref' leads back to itself");
      TRY(stands_alone(*part, "$ref", false, place));
      part = TRY(resolve(*part, place));
    }
    if (!part->is_object()) return refused_schema(place, "must be an object");
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
          return refused_schema(where, "answers cannot be held to two schemas for the property '", name.substr(0, 64),
                                "'");
        (*found)[name] = property;
      }
    } else if (keyword == "required" && found != merged.end() && value.is_array() && found->is_array()) {
      for (const Json& name : value) {
        if (std::ranges::find(*found, name) == found->end()) found->push_back(name);
      }
    } else if (is_closed || (found != merged.end() && *found != value)) {
      return refused_schema(where, "answers cannot be held to '", keyword, "' in 'allOf' here");
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
      if (!is_known) return refused_schema(where, "'type' must be of ", fmt::format("{}", fmt::join(kTypes, ", ")));
      if (std::ranges::find(types, type.get<std::string>()) == types.end()) types.push_back(type.get<std::string>());
    }
    if (types.empty()) return refused_schema(where, "'type' must not be empty");
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
    return refused_schema(where, fmt::format("has keywords of {}: give its 'type'", fmt::join(types, " and ")));
  return types;
}

Result<Json> enforceable_schema(const Json& schema) { return SchemaReader(schema).read(schema, "$", 0); }

}  // namespace commissure
