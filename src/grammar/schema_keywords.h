#pragma once

#include <string_view>

#include "core/json.h"

namespace commissure {

/// What a keyword of JSON Schema is to an answer.
enum class KeywordRole {
  kAnnotation,   ///< says nothing of the value
  kDefinitions,  ///< holds schemas for references
  kStructure,    ///< $ref, const, enum, anyOf, oneOf, allOf, type
  kString,
  kNumber,
  kArray,
  kObject,
  kNeutral,  ///< enforced only by saying nothing, e.g. "uniqueItems": false
  kRefused,  ///< and every keyword that nobody knows
};

KeywordRole role_of(std::string_view keyword);
/// Of kNeutral: whether it asks for nothing.
bool is_neutral(std::string_view keyword, const Json& value);
/// Formats of strings that answers are held to.
bool is_known_format(std::string_view format);

}  // namespace commissure
