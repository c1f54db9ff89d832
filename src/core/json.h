#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// Objects keep the order in which their keys were written (templates and answers need it).
using Json = nlohmann::ordered_json;

/// Parses one JSON value. Refuses duplicate keys, nesting deeper than `max_depth`, invalid UTF-8 and
/// trailing text, so that hostile input ends here.
/// Errors: kInvalidArgument, with the byte offset.
Result<Json> parse_json(std::string_view text, int max_depth = 128);

/// One line; invalid UTF-8 in strings is replaced by U+FFFD instead of failing.
std::string dump_json(const Json& value);

/// Multi-line, for people.
std::string pretty_json(const Json& value);

/// The member `key` of an object, or null when it is absent, JSON null, or `object` is no object.
const Json* find_member(const Json& object, std::string_view key);

}  // namespace commissure
