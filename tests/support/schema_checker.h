#pragma once

#include <algorithm>
#include <cmath>
#include <regex>
#include <string>

#include "core/json.h"
#include "text/utf8.h"

namespace commissure {

/// Whether a value is what a JSON schema accepts: a checker for tests, slow and plain, of the keywords that answers are
/// held to. Formats are not looked at.
class SchemaChecker {
 public:
  explicit SchemaChecker(const Json& root) : root_(root) {}
  bool accepts(const Json& value) const { return accepts(root_, value); }

 private:
  static bool is_of(const Json& value, const std::string& type) {
    if (type == "integer")
      return value.is_number_integer() || (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
    if (type == "number") return value.is_number();
    if (type == "string") return value.is_string();
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    return type == "null" ? value.is_null() : value.is_boolean();
  }

  static std::size_t n_letters(const std::string& text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
  }

  /// The letters of a text, so that one is one to an expression.
  static std::wstring letters(const std::string& text) {
    std::wstring all;
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint point = decode_code_point(text, at);
      all.push_back(static_cast<wchar_t>(point.value));
      at += static_cast<std::size_t>(point.n_bytes);
    }
    return all;
  }
  static bool matches(const std::string& text, const std::string& pattern) {
    return std::regex_search(letters(text), std::wregex(letters(pattern)));
  }

  bool accepts(const Json& schema, const Json& value) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (const Json* reference = find_member(schema, "$ref")) {
      const Json::json_pointer pointer(reference->get<std::string>().substr(1));
      if (!accepts(root_.at(pointer), value)) return false;
    }
    if (const Json* type = find_member(schema, "type")) {
      const Json types = type->is_array() ? *type : Json::array({*type});
      if (std::ranges::none_of(types, [&](const Json& t) { return is_of(value, t.get<std::string>()); })) return false;
    }
    const auto n_accepting = [&](const char* keyword) {
      const Json& parts = schema[keyword];
      return std::ranges::count_if(parts, [&](const Json& part) { return accepts(part, value); });
    };
    if (schema.contains("const") && value != schema["const"]) return false;
    if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end()) return false;
    if (schema.contains("anyOf") && n_accepting("anyOf") == 0) return false;
    if (schema.contains("oneOf") && n_accepting("oneOf") != 1) return false;
    if (schema.contains("allOf") && n_accepting("allOf") != std::ssize(schema["allOf"])) return false;
    if (value.is_string()) return accepts_string(schema, value.get<std::string>());
    if (value.is_number()) return accepts_number(schema, value.get<double>());
    if (value.is_array()) return accepts_array(schema, value);
    return !value.is_object() || accepts_object(schema, value);
  }

  static bool accepts_string(const Json& schema, const std::string& text) {
    if (schema.contains("minLength") && n_letters(text) < schema["minLength"]) return false;
    if (schema.contains("maxLength") && n_letters(text) > schema["maxLength"]) return false;
    return !schema.contains("pattern") || matches(text, schema["pattern"].get<std::string>());
  }

  static bool accepts_number(const Json& schema, double number) {
    if (schema.contains("minimum") && number < schema["minimum"].get<double>()) return false;
    if (schema.contains("maximum") && number > schema["maximum"].get<double>()) return false;
    if (schema.contains("exclusiveMinimum") && number <= schema["exclusiveMinimum"].get<double>()) return false;
    if (schema.contains("exclusiveMaximum") && number >= schema["exclusiveMaximum"].get<double>()) return false;
    constexpr double kExact =
        9007199254740992.0;  // beyond it whole numbers are rounded, here and to most who read them
    if (!schema.contains("multipleOf") || std::abs(number) > kExact) return true;
    return std::fmod(number, schema["multipleOf"].get<double>()) == 0.0;
  }

  bool accepts_array(const Json& schema, const Json& value) const {
    if (schema.contains("minItems") && value.size() < schema["minItems"]) return false;
    if (schema.contains("maxItems") && value.size() > schema["maxItems"]) return false;
    const std::size_t n_first = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i < n_first && !accepts(schema["prefixItems"][i], value[i])) return false;
      if (i >= n_first && schema.contains("items") && !accepts(schema["items"], value[i])) return false;
    }
    return true;
  }

  bool accepts_object(const Json& schema, const Json& value) const {
    if (schema.contains("minProperties") && value.size() < schema["minProperties"]) return false;
    if (schema.contains("maxProperties") && value.size() > schema["maxProperties"]) return false;
    if (schema.contains("required")) {
      for (const Json& name : schema["required"]) {
        if (!value.contains(name.get<std::string>())) return false;
      }
    }
    for (const auto& [name, member] : value.items()) {
      bool is_named = false;
      if (schema.contains("propertyNames") && !accepts(schema["propertyNames"], Json(name))) return false;
      if (schema.contains("properties") && schema["properties"].contains(name)) {
        is_named = true;
        if (!accepts(schema["properties"][name], member)) return false;
      }
      if (schema.contains("patternProperties")) {
        for (const auto& [pattern, part] : schema["patternProperties"].items()) {
          if (!matches(name, pattern)) continue;
          is_named = true;
          if (!accepts(part, member)) return false;
        }
      }
      if (!is_named && schema.contains("additionalProperties") && !accepts(schema["additionalProperties"], member))
        return false;
    }
    return true;
  }

  const Json root_;
};

}  // namespace commissure
