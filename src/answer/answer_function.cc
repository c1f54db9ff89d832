#include "answer/answer_function.h"

#include <algorithm>

namespace commissure {

namespace {

/// Schemas that are looked at for one parameter: references may go in circles, and each is a call deeper.
constexpr int kMaxSchemas = 64;
/// Members and values that are looked at for all parameters of a request: many may refer to one that is large. What
/// comes behind them counts as text.
constexpr std::size_t kMaxLooks = 1'000'000;

/// What types a parameter's schema names, through alternatives and references.
class Types {
 public:
  Types(const Json& root, std::size_t& n_looks) : root_(root), n_looks_(n_looks) {}

  void gather(const Json& schema) {
    if (!schema.is_object() || n_seen_ >= kMaxSchemas || !may_look_at(schema)) return;
    ++n_seen_;
    if (const Json* type = find_member(schema, "type")) {
      if (!type->is_array()) return add(*type);
      if (!may_look_at(*type)) return;
      for (const Json& one : *type) add(one);
      return;
    }
    if (const Json* values = find_member(schema, "enum");
        values != nullptr && values->is_array() && may_look_at(*values)) {
      for (const Json& value : *values) add_value(value);
    }
    if (const auto value = schema.find("const"); value != schema.end()) add_value(*value);
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
      const Json* schemas = find_member(schema, key);
      if (schemas == nullptr || !schemas->is_array()) continue;
      for (std::size_t i = 0; i < schemas->size() && n_seen_ < kMaxSchemas; ++i) gather((*schemas)[i]);
    }
    if (const Json* reference = find_member(schema, "$ref")) {
      const Json* meant = reference->is_string() ? resolve(reference->get_ref<const std::string&>()) : nullptr;
      meant != nullptr ? gather(*meant) : add("");
    }
    if (schema.contains("properties") || schema.contains("items")) has_others_ = true;
  }

  ParameterKind kind() const {
    if (has_text_) return has_null_ ? ParameterKind::kTextOrNull : ParameterKind::kText;
    return has_null_ || has_others_ ? ParameterKind::kValue : ParameterKind::kText;
  }

 private:
  /// Counts its members or values.
  bool may_look_at(const Json& json) {
    n_looks_ += json.size() + 1;
    return n_looks_ <= kMaxLooks;
  }

  void add(const Json& type) { (type == "string" ? has_text_ : type == "null" ? has_null_ : has_others_) = true; }
  void add_value(const Json& value) {
    (value.is_string() ? has_text_ : value.is_null() ? has_null_ : has_others_) = true;
  }

  /// "#/$defs/NAME" and the like; null: there is none.
  const Json* resolve(std::string_view reference) {
    if (!reference.starts_with("#")) return nullptr;
    const Json* at = &root_;
    reference.remove_prefix(1);
    while (at != nullptr && reference.starts_with('/')) {
      if (!may_look_at(*at)) return nullptr;
      const std::size_t end = std::min(reference.find('/', 1), reference.size());
      at = find_member(*at, reference.substr(1, end - 1));
      reference.remove_prefix(end);
    }
    return reference.empty() ? at : nullptr;
  }

  const Json& root_;
  std::size_t& n_looks_;
  int n_seen_ = 0;
  bool has_text_ = false, has_null_ = false, has_others_ = false;
};

}  // namespace

ParameterKind AnswerFunction::kind_of(std::string_view parameter) const {
  const auto found = parameters.find(parameter);
  return found == parameters.end() ? ParameterKind::kText : found->second;
}

std::vector<AnswerFunction> answer_functions(const Json& tools, bool has_kinds) {
  std::vector<AnswerFunction> functions;
  std::size_t n_looks = 0;
  for (const Json& tool : tools) {
    const Json* function = find_member(tool, "function");
    const Json* name = function == nullptr ? nullptr : find_member(*function, "name");
    if (name == nullptr || !name->is_string()) continue;
    AnswerFunction& kept = functions.emplace_back(AnswerFunction{.name = name->get<std::string>()});
    const Json* parameters = has_kinds ? find_member(*function, "parameters") : nullptr;
    const Json* properties = parameters == nullptr ? nullptr : find_member(*parameters, "properties");
    if (properties == nullptr || !properties->is_object()) continue;
    for (const auto& [key, schema] : properties->items()) {
      Types types(*parameters, n_looks);
      types.gather(schema);
      if (types.kind() != ParameterKind::kText) kept.parameters.emplace(key, types.kind());
    }
  }
  return functions;
}

}  // namespace commissure
