#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace commissure {

/// A member of a binding of an IAM policy, with the binding's role and condition.
struct Grant {
  std::string role;
  std::string member;
  Json condition = nullptr;  ///< title, expression, description; null for none

  /// The condition's expression; "" for none.
  std::string expression() const;
  /// What `--condition` of gcloud must be for this binding: "None", or its parts.
  std::string condition_flag() const;
};

/// All grants of a policy. What is no policy has none.
std::vector<Grant> grants_of(const Json& policy);

/// Whether `member` holds `role` under a condition with this expression, and no other; "" for none.
bool has_role(const Json& policy, const std::string& role, const std::string& member,
              const std::string& expression = "");

/// Members that stand for everybody, and those for everybody with a Google account.
bool is_public(const std::string& member);

/// Who may call a service, apart from inherited roles.
std::vector<std::string> invokers(const Json& policy);

}  // namespace commissure
