#pragma once

#include <optional>
#include <string_view>

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

/// The choice of a chat that wants a call of this function.
Json named_choice(std::string_view function);

}  // namespace commissure
