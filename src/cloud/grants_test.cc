#include "cloud/grants.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

Json sample_policy() {
  return *parse_json(R"json({"bindings": [
    {"role": "roles/run.invoker", "members": ["user:a", "user:b", "allUsers"]},
    {"role": "roles/storage.objectViewer", "members": ["user:c", 7],
     "condition": {"title": "weights-only", "expression": "resource.name.startsWith(\"models/x/\")"}},
    {"role": "roles/run.viewer"}]})json");
}

TEST(HasRole, LooksForRoleMemberAndConditionTogether) {
  EXPECT_TRUE(has_role(sample_policy(), "roles/run.invoker", "user:b"));
  EXPECT_FALSE(has_role(sample_policy(), "roles/run.invoker", "user:c"));
  EXPECT_FALSE(has_role(sample_policy(), "roles/run.viewer", "user:a"));
  EXPECT_FALSE(has_role(sample_policy(), "roles/storage.objectViewer", "user:c")) << "it holds under a condition only";
  EXPECT_TRUE(
      has_role(sample_policy(), "roles/storage.objectViewer", "user:c", "resource.name.startsWith(\"models/x/\")"));
  EXPECT_FALSE(
      has_role(sample_policy(), "roles/storage.objectViewer", "user:c", "resource.name.startsWith(\"models/y/\")"));
  for (const Json& odd : {Json(), Json(7), Json::object(), Json({{"bindings", 3}})})
    EXPECT_FALSE(has_role(odd, "roles/run.invoker", "user:a"));
}

TEST(Grants, AreEveryMemberOfEveryBinding) {
  const std::vector<Grant> grants = grants_of(sample_policy());
  ASSERT_EQ(grants.size(), 4u);
  EXPECT_EQ(grants[0].condition_flag(), "None");
  EXPECT_EQ(grants[3].condition_flag(), "title=weights-only,expression=resource.name.startsWith(\"models/x/\")");
  EXPECT_EQ(invokers(sample_policy()), (std::vector<std::string>{"user:a", "user:b", "allUsers"}));
}

TEST(Grants, AConditionWithACommaIsPartedByAnotherSign) {
  const Grant grant{"r", "m", {{"title", "t"}, {"description", "a, b"}, {"expression", "x"}}};
  EXPECT_EQ(grant.condition_flag(), "^@@^title=t@@description=a, b@@expression=x");
}

}  // namespace
}  // namespace commissure
