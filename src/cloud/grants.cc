#include "cloud/grants.h"

#include <algorithm>

#include "core/json_fields.h"

namespace commissure {

std::string Grant::expression() const { return condition.is_object() ? text_of(condition, "expression") : ""; }

std::string Grant::condition_flag() const {
  if (!condition.is_object()) return "None";
  std::vector<std::string> parts;
  for (const char* key : {"title", "description", "expression"}) {
    if (const std::string value = text_of(condition, key); !value.empty())
      parts.push_back(std::string(key) + "=" + value);
  }
  // A comma would part a value: another separator stands before the parts then.
  const bool comma = std::ranges::any_of(parts, [](const auto& part) { return part.find(',') != std::string::npos; });
  std::string flag = comma ? "^@@^" : "";
  for (std::size_t i = 0; i < parts.size(); ++i) flag += (i == 0 ? "" : comma ? "@@" : ",") + parts[i];
  return flag;
}

std::vector<Grant> grants_of(const Json& policy) {
  std::vector<Grant> grants;
  const Json* bindings = find_member(policy, "bindings");
  if (bindings == nullptr || !bindings->is_array()) return grants;
  for (const Json& binding : *bindings) {
    const Json* members = find_member(binding, "members");
    if (members == nullptr || !members->is_array()) continue;
    const Json* condition = find_member(binding, "condition");
    for (const Json& member : *members) {
      if (!member.is_string()) continue;
      grants.push_back({text_of(binding, "role"), member.get<std::string>(),
                        condition != nullptr && condition->is_object() ? *condition : Json(nullptr)});
    }
  }
  return grants;
}

bool has_role(const Json& policy, const std::string& role, const std::string& member, const std::string& expression) {
  const std::vector<Grant> grants = grants_of(policy);
  return std::ranges::any_of(grants, [&](const Grant& grant) {
    return grant.role == role && grant.member == member && grant.expression() == expression;
  });
}

bool is_public(const std::string& member) { return member == "allUsers" || member == "allAuthenticatedUsers"; }

std::vector<std::string> invokers(const Json& policy) {
  std::vector<std::string> members;
  for (const Grant& grant : grants_of(policy)) {
    if (grant.role == "roles/run.invoker") members.push_back(grant.member);
  }
  return members;
}

}  // namespace commissure
