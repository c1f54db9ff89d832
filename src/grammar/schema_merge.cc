#include <algorithm>

#include "grammar/schema_keywords.h"
#include "grammar/schema_reader.h"

namespace commissure {

/// All parts become one schema, where none of them repeats a keyword of another.
Result<Json> SchemaReader::read_all_of(const Json& schema, const std::string& where, int depth) {
  const Json& parts = schema["allOf"];
  if (!parts.is_array() || parts.empty()) return schema_refused(where, "'allOf' must be an array with a schema");
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
      if (n > kMaxSchemaDepth) return schema_refused(place, "'$ref' leads back to itself");
      TRY(stands_alone(*part, "$ref", false, place));
      part = TRY(expand(*part, place));
    }
    if (!part->is_object()) return schema_refused(place, "must be an object");
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
      TRY(count(value.size()));
      for (const auto& [name, property] : value.items()) {
        if (found->contains(name) && (*found)[name] != property)
          return schema_refused(where, "answers cannot be held to two schemas for the property '", name.substr(0, 64),
                                "'");
        (*found)[name] = property;
      }
    } else if (keyword == "required" && found != merged.end() && value.is_array() && found->is_array()) {
      TRY(count(value.size()));
      for (const Json& name : value) {
        if (std::ranges::find(*found, name) == found->end()) found->push_back(name);
      }
    } else if (is_closed || (found != merged.end() && *found != value)) {
      return schema_refused(where, "answers cannot be held to '", keyword, "' in 'allOf' here");
    } else {
      merged[keyword] = value;
    }
  }
  return {};
}

}  // namespace commissure
