#include "grammar/schema_keywords.h"

#include <algorithm>
#include <array>
#include <utility>

namespace commissure {

namespace {

using enum KeywordRole;

constexpr auto kKeywords = std::to_array<std::pair<std::string_view, KeywordRole>>({
    {"$schema", kAnnotation},
    {"$id", kAnnotation},
    {"$comment", kAnnotation},
    {"title", kAnnotation},
    {"description", kAnnotation},
    {"default", kAnnotation},
    {"example", kAnnotation},
    {"examples", kAnnotation},
    {"deprecated", kAnnotation},
    {"readOnly", kAnnotation},
    {"writeOnly", kAnnotation},
    {"discriminator", kAnnotation},  // OpenAPI's hint for oneOf, which says the same
    {"contentMediaType", kAnnotation},
    {"contentEncoding", kAnnotation},
    {"markdownDescription", kAnnotation},
    {"enumDescriptions", kAnnotation},
    {"propertyOrdering", kAnnotation},
    {"strict", kAnnotation},
    {"$defs", kDefinitions},
    {"definitions", kDefinitions},
    {"$ref", kStructure},
    {"const", kStructure},
    {"enum", kStructure},
    {"anyOf", kStructure},
    {"oneOf", kStructure},
    {"allOf", kStructure},
    {"type", kStructure},
    {"minLength", kString},
    {"maxLength", kString},
    {"pattern", kString},
    {"format", kString},
    {"minimum", kNumber},
    {"maximum", kNumber},
    {"exclusiveMinimum", kNumber},
    {"exclusiveMaximum", kNumber},
    {"multipleOf", kNumber},
    {"items", kArray},
    {"prefixItems", kArray},
    {"minItems", kArray},
    {"maxItems", kArray},
    {"unevaluatedItems", kArray},
    {"properties", kObject},
    {"required", kObject},
    {"additionalProperties", kObject},
    {"patternProperties", kObject},
    {"propertyNames", kObject},
    {"minProperties", kObject},
    {"maxProperties", kObject},
    {"unevaluatedProperties", kObject},
    {"uniqueItems", kNeutral},
    {"nullable", kNeutral},
});

constexpr std::array<std::string_view, 14> kFormats = {
    "email",    "date", "time", "date-time",     "duration",     "ipv4",         "ipv6",
    "hostname", "uuid", "uri",  "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"};

}  // namespace

KeywordRole role_of(std::string_view keyword) {
  if (keyword.starts_with("x-")) return kAnnotation;
  const auto found = std::ranges::find(kKeywords, keyword, &std::pair<std::string_view, KeywordRole>::first);
  return found == kKeywords.end() ? kRefused : found->second;
}

bool is_neutral(std::string_view, const Json& value) { return value.is_null() || value == false; }

bool is_known_format(std::string_view format) { return std::ranges::find(kFormats, format) != kFormats.end(); }

}  // namespace commissure
