#include "api/fields.h"

#include <cmath>

namespace commissure {

std::string_view kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "a boolean";
    default: return "a number";
  }
}

const std::string* text_member(const Json& object, std::string_view name) {
  const Json* value = find_member(object, name);
  return value != nullptr && value->is_string() ? &value->get_ref<const std::string&>() : nullptr;
}

std::optional<std::int64_t> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  constexpr double kExact = 9007199254740992.0;  // 2^53: above it a double no longer names one integer
  if (std::floor(number) != number || std::abs(number) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

const Json* Fields::find_in(const Json& object, std::string_view name) const {
  if (!object.is_object()) return nullptr;
  for (const auto& [key, value] : object.get_ref<const Json::object_t&>()) {
    ++n_compared_;
    if (key == name) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

const Json* Fields::find_under(std::string_view name) const {
  const Json* value = find_in(object_, name);
  return value != nullptr || more_ == nullptr ? value : find_in(*more_, name);
}

const Json* Fields::find(std::string_view name) const {
  if (const Json* value = find_under(name)) return value;
  for (const auto& [own, other] : others_) {
    if (own != name) continue;
    if (const Json* value = find_under(other)) return value;
  }
  return nullptr;
}

void Fields::fail(std::string_view name, std::string message) { fail(bad_field(full_name(name), std::move(message))); }

void Fields::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::optional<double> Fields::number(std::string_view name, double low, double high, bool open_low) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail(name, fmt::format("'{}' must be a number, not {}", full_name(name), kind_of(*value)));
    return std::nullopt;
  }
  const double number = value->get<double>();
  const bool inside = (open_low ? number > low : number >= low) && number <= high;
  if (!inside) {
    fail(name, fmt::format("'{}' is {}, but must be {} {} and at most {}", full_name(name), dump_json(*value),
                           open_low ? "greater than" : "at least", low, high));
    return std::nullopt;
  }
  return number;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t low, std::int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail(name, fmt::format("'{}' must be an integer, not {}", full_name(name), kind_of(*value)));
    return std::nullopt;
  }
  const auto number = whole_number(*value);
  if (!number || *number < low || *number > high) {
    fail(name, fmt::format("'{}' is {}, but must be an integer between {} and {}", full_name(name), dump_json(*value),
                           low, high));
    return std::nullopt;
  }
  return number;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  fail(name, fmt::format("'{}' must be true or false, not {}", full_name(name), kind_of(*value)));
  return std::nullopt;
}

std::optional<std::string> Fields::text(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  fail(name, fmt::format("'{}' must be a string, not {}", full_name(name), kind_of(*value)));
  return std::nullopt;
}

std::optional<std::vector<std::string>> Fields::texts(std::string_view name, std::size_t max_count,
                                                      std::size_t max_bytes) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const Json one = value->is_string() ? Json::array({*value}) : Json();
  const Json& list = value->is_string() ? one : *value;
  std::vector<std::string> result;
  const auto refuse = [&](std::string why) {
    fail(name, fmt::format("'{}' {}", full_name(name), why));
    return std::nullopt;
  };
  if (!list.is_array()) return refuse(fmt::format("must be a string or an array of strings, not {}", kind_of(list)));
  if (list.size() > max_count)
    return refuse(fmt::format("has {} entries, but may have at most {}", list.size(), max_count));
  for (const Json& entry : list) {
    if (!entry.is_string()) return refuse(fmt::format("must hold strings only, not {}", kind_of(entry)));
    const std::size_t n_bytes = entry.get_ref<const std::string&>().size();
    if (n_bytes == 0) return refuse("must not hold an empty string");
    if (n_bytes > max_bytes)
      return refuse(fmt::format("holds a string of {} bytes, but each may have at most {}", n_bytes, max_bytes));
    result.push_back(entry.get<std::string>());
  }
  return result;
}

const Json* Fields::object(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_object()) return value;
  fail(name, fmt::format("'{}' must be an object, not {}", full_name(name), kind_of(*value)));
  return nullptr;
}

const Json* Fields::array(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_array()) return value;
  fail(name, fmt::format("'{}' must be an array, not {}", full_name(name), kind_of(*value)));
  return nullptr;
}

}  // namespace commissure
