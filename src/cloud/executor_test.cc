#include "cloud/executor.h"

#include <gtest/gtest.h>

#include <mutex>

#include "cloud/service.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

/// A cloud in which every call succeeds and reads find nothing, except for scripted answers by a part of the line.
class ScriptedCloud {
 public:
  std::map<std::string, ProgramAnswer> answers;
  std::vector<std::string> changes;
  std::string address = ".example";  ///< behind a service's name

  ProgramRunner runner() {
    return [this](const ProgramCall& call) -> Result<ProgramAnswer> {
      const std::lock_guard lock(mutex_);  // reads come from several threads
      const std::string line = command_line(call);
      for (const auto& [part, answer] : answers) {
        if (line.find(part) != std::string::npos) return answer;
      }
      if (line.find("projects describe") != std::string::npos)
        return ProgramAnswer{0, R"({"projectNumber": "42"})", ""};
      if (line.find("services list --enabled") != std::string::npos)
        return ProgramAnswer{0, "run.googleapis.com\n", ""};
      if (line.find("run services list") != std::string::npos) return ProgramAnswer{0, "[]", ""};
      changes.push_back(line);
      if (line.find("run deploy demo-") == std::string::npos) return ProgramAnswer{};
      const std::string service = line.substr(line.find("demo-"), 6);
      return ProgramAnswer{0, R"({"status": {"url": "https://)" + service + address + R"("}})", ""};
    };
  }

 private:
  std::mutex mutex_;
};

TEST(CloudExecutor, DeploysTheLastStageFirstAndHandsItsAddressOn) {
  const CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  cloud.address = "-PROJECT_NUMBER.europe-west4.run.app";  // what is promised while no number is known
  const ProgramRunner runner = cloud.runner();
  const CloudReport quiet;
  CloudExecutor executor(spec, runner, quiet);
  ASSERT_TRUE(executor.deploy().has_value());
  ASSERT_EQ(cloud.changes.size(), 5u);
  EXPECT_NE(cloud.changes[0].find("run deploy demo-c"), std::string::npos);
  EXPECT_NE(cloud.changes[1].find("add-iam-policy-binding demo-c"), std::string::npos) << "before its caller starts";
  EXPECT_NE(cloud.changes[2].find("C_ENDPOINT=https://demo-c-PROJECT_NUMBER.europe-west4.run.app"), std::string::npos)
      << cloud.changes[2];
  EXPECT_NE(cloud.changes[4].find("B_ENDPOINT=https://demo-b-PROJECT_NUMBER.europe-west4.run.app"), std::string::npos)
      << cloud.changes[4];
  EXPECT_EQ(executor.state().url("demo-a"), "https://demo-a-PROJECT_NUMBER.europe-west4.run.app");
}

TEST(CloudExecutor, TellsAServiceOfAnAddressThatWasNotPromised) {
  const CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  const ProgramRunner runner = cloud.runner();
  const CloudReport quiet;
  CloudExecutor executor(spec, runner, quiet);
  ASSERT_TRUE(executor.deploy().has_value());
  ASSERT_EQ(cloud.changes.size(), 7u) << "c and b twice; a checks no tokens";
  EXPECT_NE(cloud.changes[2].find("COMMISSURE_REQUIRE_IDENTITY=https://demo-c-PROJECT_NUMBER.europe-west4.run.app,"
                                  "https://demo-c.example|"),
            std::string::npos)
      << cloud.changes[2];
}

TEST(CloudState, PrefersTheAddressThatFollowsFromTheName) {
  CloudState state;
  state.services["demo-b"] = *parse_json(R"({"metadata": {"annotations": {"run.googleapis.com/urls":
      "[\"https://demo-b-42.europe-west4.run.app\",\"https://demo-b-x-ez.a.run.app\"]"}},
      "status": {"url": "https://demo-b-x-ez.a.run.app"}})");
  EXPECT_EQ(state.url("demo-b"), "https://demo-b-x-ez.a.run.app") << "no project number";
  state.project_number = "42";
  EXPECT_EQ(state.url("demo-b"), "https://demo-b-42.europe-west4.run.app");
  state.services["demo-b"]["metadata"]["annotations"]["run.googleapis.com/urls"] = "not a list";
  EXPECT_EQ(state.url("demo-b"), "https://demo-b-x-ez.a.run.app");
  EXPECT_EQ(state.url("demo-c"), "");
}

TEST(CloudExecutor, StopsAtTheFailingCallAndSaysWhichStep) {
  const CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  cloud.answers["buckets create"] = {1, "", "ERROR: (gcloud.storage.buckets.create) HTTPError 403: no access."};
  const ProgramRunner runner = cloud.runner();
  const CloudReport quiet;
  CloudExecutor executor(spec, runner, quiet);
  const Status status = executor.lay_foundation({});
  ASSERT_FALSE(status.has_value());
  EXPECT_TRUE(status.error().message().starts_with("step bucket: HTTPError 403: no access; you lack a role"))
      << status.error().message();
  EXPECT_EQ(cloud.changes.size(), 3u) << "APIs, repository, clean-up; nothing after the failure";
}

TEST(CloudExecutor, ALoginIsUndoneThoughThePushFails) {
  CloudSpec spec = test_spec();
  spec.image_builder = "docker";
  std::vector<std::string> made;
  std::string fails;
  const ProgramRunner runner = [&](const ProgramCall& call) -> Result<ProgramAnswer> {
    made.push_back(call.arguments[1]);
    if (call.arguments[1] == "auth") return ProgramAnswer{0, "ya29.token\n", ""};
    EXPECT_EQ(call.input, call.arguments[1] == "login" ? "ya29.token" : "");
    EXPECT_EQ(command_line(call).find("ya29"), std::string::npos);
    return call.arguments[1] == fails ? ProgramAnswer{1, "", "denied: no"} : ProgramAnswer{};
  };
  const CloudReport quiet;
  for (const auto& [failing, wanted] :
       {std::pair<const char*, std::vector<std::string>>{"", {"build", "auth", "login", "push", "logout"}},
        {"logout", {"build", "auth", "login", "push", "logout"}},
        {"push", {"build", "auth", "login", "push", "logout"}},
        {"login", {"build", "auth", "login"}},
        {"build", {"build"}}}) {
    made.clear();
    fails = failing;
    CloudExecutor executor(spec, runner, quiet);
    const Status status = executor.build_image();
    EXPECT_EQ(made, wanted) << failing;
    EXPECT_EQ(status.has_value(), fails.empty() || fails == "logout");
    if (status) continue;
    EXPECT_EQ(status.error().message().find("ya29"), std::string::npos) << status.error().message();
  }
}

TEST(CloudExecutor, SaysWhatIsMissingBeforeAnythingIsMade) {
  CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  cloud.answers["services list --enabled"] = {0, "run.googleapis.com\ncloudquotas.googleapis.com\n", ""};
  cloud.answers["services enable"] = {};
  cloud.answers["beta quotas"] = {
      0, R"({"dimensionsInfos": [{"dimensions": {"region": "europe-west4"}, "details": {"value": "2"}}]})", ""};
  const ProgramRunner runner = cloud.runner();
  const CloudReport quiet;
  const Status few = CloudExecutor(spec, runner, quiet).lay_foundation({});
  ASSERT_FALSE(few.has_value());
  EXPECT_TRUE(few.error().message().starts_with("step quota: ")) << few.error().message();
  cloud.answers["beta quotas"].output = "{}";
  spec.api_key = true;
  const Status keyless = CloudExecutor(spec, runner, quiet).lay_foundation({});
  ASSERT_FALSE(keyless.has_value());
  EXPECT_TRUE(keyless.error().message().starts_with("step secrets: set COMMISSURE_API_KEY"))
      << keyless.error().message();
  EXPECT_TRUE(cloud.changes.empty()) << cloud.changes.front();
}

TEST(CloudExecutor, GoesOnWithoutAQuotaThatCannotBeRead) {
  const CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  cloud.answers["services list --enabled"] = {0, "run.googleapis.com\ncloudquotas.googleapis.com\n", ""};
  cloud.answers["beta quotas"] = {1, "", "ERROR: (gcloud.beta.quotas) no beta here."};
  std::string notes;
  CloudReport report;
  report.note = [&](const std::string& text) { notes += text; };
  const ProgramRunner runner = cloud.runner();
  ASSERT_TRUE(CloudExecutor(spec, runner, report).lay_foundation({}).has_value());
  EXPECT_NE(notes.find("not known: NvidiaL4GpuAlloc"), std::string::npos) << notes;
}

TEST(CloudExecutor, RollsAllStagesBackToTheReleaseBefore) {
  const CloudSpec spec = test_spec();
  ScriptedCloud cloud;
  Json revisions = Json::array();
  Json services = Json::array();
  int second = 0;
  for (const char* release : {"one", "half", "two"}) {
    for (const char* stage : {"demo-a", "demo-b", "demo-c"}) {
      if (std::string_view(release) == "half" && std::string_view(stage) == "demo-a") continue;  // never completed
      const std::string name = std::string(stage) + "-" + release;
      revisions.push_back({{"metadata",
                            {{"name", name},
                             {"creationTimestamp", "2026-01-01T00:00:1" + std::to_string(second++) + "Z"},
                             {"labels", {{"serving.knative.dev/service", stage}, {"commissure-release", release}}}}}});
    }
  }
  for (const char* stage : {"demo-a", "demo-b", "demo-c"}) {
    const std::string name = std::string(stage) + "-two";
    services.push_back({{"metadata", {{"name", stage}, {"labels", {{"commissure-deployment", "demo"}}}}},
                        {"status", {{"traffic", Json::array({{{"revisionName", name}, {"percent", 100}}})}}}});
  }
  cloud.answers["revisions list"] = {0, dump_json(revisions), ""};
  cloud.answers["run services list"] = {0, dump_json(services), ""};
  cloud.answers["get-iam-policy"] = {0, "{}", ""};
  const ProgramRunner runner = cloud.runner();
  const CloudReport quiet;
  CloudExecutor executor(spec, runner, quiet);
  ASSERT_TRUE(executor.read_services().has_value());
  ASSERT_TRUE(executor.roll_back().has_value());
  ASSERT_EQ(cloud.changes.size(), 3u);
  EXPECT_NE(cloud.changes[0].find("update-traffic demo-c"), std::string::npos);
  EXPECT_NE(cloud.changes[0].find("--to-revisions=demo-c-one=100"), std::string::npos);
}

TEST(CloudExecutor, ScalesOnlyWhatDiffersAndChecksTheLimit) {
  const CloudSpec spec = test_spec();
  CloudState state;
  state.services["demo-c"] = deployed_stage_c(spec, "r");
  const auto step = scale_step(spec, state, {"c", 1, -1});
  ASSERT_TRUE(step.has_value());
  ASSERT_EQ(step->calls.size(), 1u);
  EXPECT_EQ(command_line(step->calls[0]),
            "gcloud run services update demo-c --project=acme --region=europe-west4 --min=1 --quiet");
  EXPECT_TRUE(scale_step(spec, state, {"c", 0, 1})->calls.empty());
  EXPECT_FALSE(scale_step(spec, state, {"c", 2, -1}).has_value());
  EXPECT_FALSE(scale_step(spec, state, {"q", 1, -1}).has_value());
  EXPECT_FALSE(scale_step(spec, state, {"a", 1, -1}).has_value()) << "not deployed";
}

TEST(CloudSpec, RefusesNamesThatGoogleWouldRefuse) {
  EXPECT_TRUE(validate(test_spec()).has_value());
  for (const char* name : {"Demo", "abc", "x-a-name-longer-than-24-letters", "9lives", "ends-"}) {
    CloudSpec spec = test_spec();
    spec.name = name;
    EXPECT_FALSE(validate(spec).has_value()) << name;
  }
  CloudSpec spec = test_spec();
  spec.cuts = {20};
  EXPECT_FALSE(validate(spec).has_value());
  spec = test_spec();
  spec.internal = true;
  EXPECT_FALSE(validate(spec).has_value());
}

}  // namespace
}  // namespace commissure
