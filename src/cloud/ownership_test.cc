#include "cloud/ownership.h"

#include <gtest/gtest.h>

#include "cloud/marks.h"
#include "cloud/steps.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

Json labelled(const std::string& owner) { return {{"labels", {{kDeploymentLabel, owner}}}}; }

std::string listed(const std::vector<ForeignThing>& things) {
  std::string text;
  for (const ForeignThing& thing : things)
    text += thing.what + (thing.owner.empty() ? "" : " of " + thing.owner) + "; ";
  return text;
}

/// One of everything, under the names of `test_spec`.
CloudState state_of(const CloudSpec& spec, const std::string& owner, const std::string& title) {
  CloudState state;
  state.services["demo-b"] = {{"metadata", labelled(owner)}};
  state.repository = labelled(owner);
  state.bucket = labelled(owner);
  state.secret_owners["demo-api-key"] = owner;
  state.accounts[spec.account("c")] = title;
  state.warm_job = Json{{"description", std::string(kDeploymentLabel) + "=" + owner}};
  return state;
}

CloudSpec whole_spec() {
  CloudSpec spec = test_spec();
  spec.api_key = true;
  spec.warm_schedule = "0 8 * * *";
  return spec;
}

TEST(Ownership, WhatCarriesTheMarkIsOurs) {
  const CloudSpec spec = whole_spec();
  EXPECT_EQ(listed(foreign_things(spec, state_of(spec, "demo", account_title(spec, "stage c")))), "");
}

TEST(Ownership, EveryKindOfThingWithoutItIsNamed) {
  const CloudSpec spec = whole_spec();
  const auto foreign = foreign_things(spec, state_of(spec, "", "The shop's robot"));
  EXPECT_EQ(
      listed(foreign),
      "service demo-b; repository demo; bucket gs://acme-demo; secret demo-api-key; account demo-c; job demo-warm; ");
  EXPECT_TRUE(check_owned(spec, foreign, true)) << "adopted";
  const Status refused = check_owned(spec, foreign, false);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("service demo-b, repository demo"), std::string::npos);
  EXPECT_NE(refused.error().message().find("commissure up --adopt"), std::string::npos) << refused.error().message();
}

TEST(Ownership, AnotherDeploymentsThingIsNotAdopted) {
  const CloudSpec spec = test_spec();
  CloudState state;
  state.services["demo-a"] = {{"metadata", labelled("shop")}};
  const Status refused = check_owned(spec, foreign_things(spec, state), true);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("service demo-a (of the deployment shop)"), std::string::npos)
      << refused.error().message();
}

TEST(Ownership, ABareEmptyBucketOfOurNameIsWhatAnInterruptedUpLeft) {
  CloudSpec spec = test_spec();
  CloudState state;
  state.bucket = Json::object();
  EXPECT_EQ(listed(foreign_things(spec, state)), "");
  state.bucket_holds_objects = true;
  EXPECT_EQ(listed(foreign_things(spec, state)), "bucket gs://acme-demo; ");
  spec.bucket = "shared";
  EXPECT_EQ(listed(foreign_things(spec, state)), "") << "the file names it: it is used, not owned";
  EXPECT_FALSE(is_own_bucket(spec, state));
}

TEST(Ownership, DownLeavesWhatIsNotMarkedAndSaysSo) {
  const CloudSpec spec = whole_spec();
  const auto count = [](const std::vector<CloudStep>& steps, auto CloudStep::* what) {
    std::size_t n = 0;
    for (const CloudStep& step : steps) n += (step.*what).size();
    return n;
  };
  const auto ours = removal_steps(spec, state_of(spec, "demo", account_title(spec, "stage c")), true);
  EXPECT_EQ(count(ours, &CloudStep::calls), 6u);
  EXPECT_EQ(count(ours, &CloudStep::warnings), 0u);
  const auto theirs = removal_steps(spec, state_of(spec, "", "robot"), true);
  EXPECT_EQ(count(theirs, &CloudStep::calls), 0u);
  EXPECT_EQ(count(theirs, &CloudStep::warnings), 6u) << "each of them is named";
}

TEST(Prune, TakesWhatTheFileNoLongerAsksFor) {
  CloudSpec spec = test_spec();
  CloudState state;
  state.services["demo-c"] = {{"metadata", labelled("demo")}};
  state.services["demo-d"] = {{"metadata", labelled("demo")}};
  state.services["demo-e"] = Json::object();
  state.services_elsewhere = {{"demo-a", "us-central1"}};
  state.own_buckets = {"acme-demo", "acme-before"};
  state.secret_owners = {{"demo-api-key", "demo"}, {"demo-hub-token", ""}};
  state.accounts = {{spec.account("a"), account_title(spec, "stage a")},
                    {spec.account("d"), account_title(spec, "stage d")},
                    {spec.account("warm"), account_title(spec, "wakes the stages by a schedule")}};
  const std::string member = "serviceAccount:" + spec.account("a");
  const auto bound = [&](const std::string& who, const Json& condition) {
    Json binding = {{"role", "roles/storage.objectViewer"}, {"members", Json::array({who})}};
    if (!condition.is_null()) binding["condition"] = condition;
    return binding;
  };
  const Json old = {{"title", "weights-only"}, {"expression", "resource.name.startsWith(\"models/old\")"}};
  const Json now = {{"title", "weights-only"}, {"expression", weights_expression(spec)}};
  state.bucket_policies["acme-demo"]["bindings"] = {bound(member, old), bound(member, now), bound("user:me", nullptr),
                                                    bound("serviceAccount:" + spec.account("d"), now)};
  std::string left;
  for (const CloudStep& step : prune_steps(spec, state)) {
    EXPECT_EQ(step.differences.size(), step.calls.size()) << step.name;
    for (const std::string& difference : step.differences) left += difference + "\n";
  }
  EXPECT_EQ(left,
            "service demo-d\n"
            "service demo-a in us-central1\n"
            "account demo-a on gs://acme-demo: roles/storage.objectViewer, with a condition for something else\n"
            "account demo-d on gs://acme-demo: roles/storage.objectViewer, with a condition for something else\n"
            "bucket gs://acme-before\n"
            "secret demo-api-key\n"
            "account demo-warm\n"
            "account demo-d\n");
  spec.api_key = true;
  EXPECT_TRUE(prune_steps(spec, state)[3].calls.empty()) << "the key is wanted";
}

}  // namespace
}  // namespace commissure
