#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace commissure {

/// How a parameter's value is meant where a form spells it without quotes.
enum class ParameterKind {
  kText,
  kTextOrNull,  ///< a text, unless it is "null"
  kValue,       ///< JSON where it can be read as such, else a text
};

/// A function that an answer may call: what is needed of its description, which may be large.
struct AnswerFunction {
  std::string name;
  std::map<std::string, ParameterKind, std::less<>> parameters = {};  ///< those that are no plain texts

  ParameterKind kind_of(std::string_view parameter) const;
};

/// What `tools` of a request, {"type": "function", "function": {...}} each, say of functions.
///   has_kinds  the parameters are looked at, too
std::vector<AnswerFunction> answer_functions(const Json& tools, bool has_kinds = true);

}  // namespace commissure
