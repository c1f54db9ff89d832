#include "cloud/state.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

const CloudRead& read_of(const std::vector<CloudRead>& reads, const std::string& part) {
  const auto found = std::ranges::find_if(
      reads, [&](const CloudRead& read) { return command_line(read.call).find(part) != std::string::npos; });
  EXPECT_NE(found, reads.end()) << part;
  return *found;
}

/// The state after one question's answer.
CloudState after(const CloudRead& read, const std::string& output) {
  CloudState state;
  const Status absorbed = read.absorb(read.key, output, state);
  EXPECT_TRUE(absorbed) << absorbed.error().message();
  return state;
}

TEST(CloudReads, NeverChangeAnything) {
  CloudSpec spec = test_spec();
  spec.hub_token = spec.api_key = true;
  spec.weights.bucket = "elsewhere";
  std::vector<CloudRead> reads = first_reads(spec);
  for (const CloudRead& read : mark_reads(spec)) reads.push_back(read);
  for (const CloudRead& read : second_reads(spec)) reads.push_back(read);
  CloudState state;
  state.services["demo-a"] = Json::object();
  for (const CloudRead& read : policy_reads(spec, state)) reads.push_back(read);
  EXPECT_GE(reads.size(), 15u);
  for (const CloudRead& read : reads) {
    const std::string line = command_line(read.call);
    EXPECT_TRUE(line.find(" describe ") != std::string::npos || line.find(" list") != std::string::npos ||
                line.find(" get-iam-policy ") != std::string::npos)
        << line;
    EXPECT_NE(line.find("--quiet"), std::string::npos) << line;
  }
}

TEST(CloudReads, AskForSecretsThatAreWantedOnly) {
  CloudSpec spec = test_spec();
  const auto asks = [&](const std::string& secret) {
    return std::ranges::count_if(second_reads(spec), [&](const CloudRead& read) { return read.key == secret; });
  };
  EXPECT_EQ(asks("demo-hub-token"), 0);
  spec.hub_token = true;
  EXPECT_EQ(asks("demo-hub-token"), 2) << "its versions, and who may read it";
  EXPECT_EQ(asks("demo-api-key"), 0);
}

TEST(CloudReads, TakeLinesAndListsAsGcloudPrintsThem) {
  const CloudSpec spec = test_spec();
  EXPECT_EQ(after(read_of(first_reads(spec), "--enabled"), "run.googleapis.com\n\niam.googleapis.com").apis,
            (std::set<std::string>{"iam.googleapis.com", "run.googleapis.com"}));
  EXPECT_EQ(after(read_of(first_reads(spec), "projects describe"), R"({"projectNumber": "42"})").project_number, "42");
  EXPECT_EQ(after(read_tags(spec), R"([{"tag": "projects/p/packages/c/tags/0.1.0-abc"}, {"name": "x/y/latest"}])").tags,
            (std::set<std::string>{"0.1.0-abc", "latest"}));
}

TEST(CloudReads, KnowObjectsBySizeSumAndMetadata) {
  const CloudState state = after(read_objects(test_spec()),
                                 R"([{"name": "models/gemma/m.gguf", "size": "1234567890123", "crc32c": "AAAA==",
                                      "metadata": {"files": "3", "odd": 7}}, {"name": "models/gemma/list.json"}])");
  const CloudObject& model = state.objects.at("models/gemma/m.gguf");
  EXPECT_EQ(model.n_bytes, 1'234'567'890'123u);
  EXPECT_EQ(model.crc32c, "AAAA==");
  EXPECT_EQ(model.metadata, (std::map<std::string, std::string>{{"files", "3"}}));
  EXPECT_EQ(state.objects.at("models/gemma/list.json").n_bytes, 0u);
}

TEST(CloudReads, ASecretWithoutAVersionHoldsNothing) {
  CloudSpec spec = test_spec();
  spec.api_key = true;
  const CloudRead read = read_of(second_reads(spec), "secrets versions list demo-api-key");
  EXPECT_FALSE(after(read, "[]").secrets.at("demo-api-key"));
  EXPECT_TRUE(after(read, R"([{"name": "1"}])").secrets.at("demo-api-key"));
}

TEST(CloudReads, WhatIsNoJsonIsAnError) {
  CloudState state;
  for (const CloudRead& read : {read_objects(test_spec()), read_tags(test_spec()), services_read(test_spec())})
    EXPECT_FALSE(read.absorb(read.key, "WARNING: something else", state)) << command_line(read.call);
}

TEST(CloudReads, TakeServicesOfTheDeploymentWhereverTheyAre) {
  const CloudState here = after(services_read(test_spec()), R"([
    {"metadata": {"name": "demo-a"}}, {"metadata": {"name": "demo-shop"}},
    {"metadata": {"name": "odd", "labels": {"commissure-deployment": "demo"}}}])");
  ASSERT_EQ(here.services.size(), 2u);
  EXPECT_TRUE(here.services.contains("demo-a") && here.services.contains("odd"));
  const CloudState all = after(mark_reads(test_spec())[1], R"([
    {"metadata": {"name": "demo-a", "labels": {"cloud.googleapis.com/location": "us-east1"}}},
    {"metadata": {"name": "demo-a",
                  "labels": {"cloud.googleapis.com/location": "europe-west4", "commissure-deployment": "demo"}}},
    {"metadata": {"name": "demo-b",
                  "labels": {"cloud.googleapis.com/location": "us-east1", "commissure-deployment": "demo"}}}])");
  EXPECT_TRUE(all.services.empty());
  EXPECT_EQ(all.services_elsewhere, (std::vector{std::pair<std::string, std::string>{"demo-b", "us-east1"}}));
}

TEST(CloudReads, KnowWhoseBucketsAndSecretsAre) {
  const CloudState buckets = after(read_of(mark_reads(test_spec()), "buckets list"),
                                   R"([{"name": "old", "labels": {"commissure-deployment": "demo"}}, {"name": "x"}])");
  EXPECT_EQ(buckets.own_buckets, (std::set<std::string>{"old"}));
  const CloudState secrets = after(read_of(mark_reads(test_spec()), "secrets list"), R"([
    {"name": "projects/1/secrets/demo-api-key", "labels": {"commissure-deployment": "demo"}},
    {"name": "projects/1/secrets/demo-hub-token"}, {"name": "projects/1/secrets/other"}])");
  EXPECT_EQ(secrets.secret_owners,
            (std::map<std::string, std::string>{{"demo-api-key", "demo"}, {"demo-hub-token", ""}}));
}

TEST(CloudState, PromisesAnAddressOnceTheProjectsNumberIsKnown) {
  CloudState state;
  EXPECT_EQ(state.promised_url("demo-a", "europe-west4"), "");
  EXPECT_EQ(state.url("demo-a"), "") << "nothing is there";
  state.project_number = "42";
  EXPECT_EQ(state.promised_url("demo-a", "europe-west4"), "https://demo-a-42.europe-west4.run.app");
  state.services["demo-a"] = Json::object();
  EXPECT_EQ(state.url("demo-a"), "") << "it is being made";
}

}  // namespace
}  // namespace commissure
