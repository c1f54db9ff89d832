#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "api/fields.h"
#include "core/json.h"

// What the translations of other APIs' bodies into that of a chat (/v1/chat/completions) share.
namespace commissure {

/// The member as it is, where there is one: the chat judges it.
void copy_field(const Fields& fields, std::string_view name, Json& chat);

/// A function of a chat, of a tool that has its name beside its type (which is not looked at). Nothing after a finding.
///   index   among `tools`
///   schema  the member that says what the arguments are
std::optional<Json> flat_function(Fields& fields, const Json& tool, std::size_t index, std::string_view schema,
                                  bool needs_schema);

/// A finding of the chat about a translated body, with `names` of the API it came from in place of the chat's.
///   names  a chat's name and the other API's
ApiError in_terms(ApiError error, std::span<const std::pair<std::string_view, std::string_view>> names);

/// The choice of a chat that wants a call of this function.
Json named_choice(std::string_view function);

}  // namespace commissure
