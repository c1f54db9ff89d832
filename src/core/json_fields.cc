#include "core/json_fields.h"

namespace commissure {

std::string text_of(const Json& object, std::string_view key) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

double number_of(const Json& object, std::string_view key) {
  const Json* value = find_member(object, key);
  return value != nullptr && value->is_number() ? value->get<double>() : 0;
}

}  // namespace commissure
