#include "api/chat_translation.h"

#include <string>
#include <utility>

#include "api/tool_fields.h"

namespace commissure {

void copy_field(const Fields& fields, std::string_view name, Json& chat) {
  if (const Json* value = fields.find(name)) chat[std::string(name)] = *value;
}

std::optional<Json> flat_function(Fields& fields, const Json& tool, std::size_t index, std::string_view schema,
                                  bool needs_schema) {
  const auto refuse = [&](std::string_view what) {
    fields.fail("tools", fmt::format("'tools[{}].{}", index, what));
    return std::nullopt;
  };
  const Json* name = find_member(tool, "name");
  if (name == nullptr || !name->is_string() || !is_function_name(name->get_ref<const std::string&>())) {
    return refuse(
        fmt::format("name' must have 1 to {} of the characters a-z, A-Z, 0-9, '_', '-' and '.'", kMaxFunctionName));
  }
  Json function = {{"name", *name}};
  if (const Json* description = find_member(tool, "description")) {
    if (!description->is_string())
      return refuse(fmt::format("description' must be a string, not {}", kind_of(*description)));
    function["description"] = *description;
  }
  const Json* parameters = find_member(tool, schema);
  if (parameters == nullptr ? needs_schema : !parameters->is_object()) {
    return refuse(fmt::format("{}' must be an object", schema));
  }
  if (parameters != nullptr) function["parameters"] = *parameters;
  if (const Json* strict = find_member(tool, "strict")) function["strict"] = *strict;
  return Json{{"type", "function"}, {"function", std::move(function)}};
}

ApiError in_terms(ApiError error, std::span<const std::pair<std::string_view, std::string_view>> names) {
  for (const auto& [chat, own] : names) {
    if (error.param == chat) error.param = own;
    const std::string quoted = fmt::format("'{}'", chat);
    for (std::size_t at = 0; (at = error.message.find(quoted, at)) != std::string::npos; at += own.size() + 2) {
      error.message.replace(at, quoted.size(), fmt::format("'{}'", own));
    }
  }
  return error;
}

Json named_choice(std::string_view function) { return {{"type", "function"}, {"function", {{"name", function}}}}; }

}  // namespace commissure
