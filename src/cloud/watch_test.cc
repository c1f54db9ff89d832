#include "cloud/watch.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "cloud/endpoint.h"
#include "support/cloud_test_spec.h"
#include "support/temp_folder.h"
#include "support/text_lines.h"

namespace commissure {
namespace {

/// What was printed, and how it ended.
struct Shown {
  int status = 0;
  std::string out, problem;
};

/// The deployment `demo` of two stages, on a cloud that answers by a part of the call.
class CloudWatch : public ::testing::Test {
 protected:
  CloudWatch() {
    outside_.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      return found == variables_.end() ? std::nullopt : std::optional(found->second);
    };
    outside_.run = [this](const ProgramCall& call, const CallTick&) -> Result<ProgramAnswer> {
      const std::lock_guard lock(mutex_);  // reads come from several threads
      calls_.push_back(command_line(call));
      for (const auto& [part, answer] : answers_) {
        if (calls_.back().find(part) != std::string::npos) return answer;
      }
      return ProgramAnswer{};
    };
    answers_["get-iam-policy"] = {0, "{}", ""};
    answers_["projects describe"] = {0, R"({"projectNumber": "42"})", ""};
    answers_["services list --enabled"] = {0, "run.googleapis.com\n", ""};
  }

  static CloudChoice named(const std::string& file) {
    CloudChoice choice;
    choice.file = file;
    return choice;
  }
  static Json service(const std::string& name, bool is_ready = true) {
    Json body = deployed_stage_c(test_spec(), "r-0123456789");
    body["metadata"]["name"] = name;
    body["status"]["url"] = "https://" + name + "-42.europe-west4.run.app";
    if (!is_ready) body["status"]["conditions"] = {{{"type", "Ready"}, {"status", "False"}, {"message", "no quota"}}};
    return body;
  }
  void deployed(const Json& services) { answers_["run services list"] = {0, dump_json(services), ""}; }

  Shown shown(auto&& show) {
    ::testing::internal::CaptureStdout();
    const Result<int> status = show();
    Shown result{status ? *status : 1, ::testing::internal::GetCapturedStdout(), ""};
    if (!status) result.problem = status.error().message();
    return result;
  }
  Shown status(bool as_json = false) {
    return shown([&] { return show_cloud_status(choice_, false, as_json, outside_); });
  }
  Shown logs(const std::string& stage = "", int n_lines = 40) {
    return shown([&] { return show_cloud_logs({.choice = choice_, .stage = stage, .n_lines = n_lines}, outside_); });
  }

  const testing::TempFolder folder_;
  CloudChoice choice_ = named(folder_.write("d.yaml",
                                            "name: demo\nproject: acme\nregion: europe-west4\n"
                                            "model: m\ncuts: [20]\nstages: 2\n"));
  std::map<std::string, std::string> variables_;
  std::map<std::string, ProgramAnswer> answers_;
  std::mutex mutex_;
  std::vector<std::string> calls_;
  CloudOutside outside_;
};

TEST_F(CloudWatch, TellsAnAbsentDeploymentFromAnUnwellOne) {
  deployed(Json::array());
  EXPECT_EQ(status().status, 3);
  EXPECT_EQ(status().out, "demo in acme, europe-west4\nstage a  demo-a  absent\nstage b  demo-b  absent\n");
  deployed({service("demo-a"), service("demo-b", false)});
  const Shown unwell = status();
  EXPECT_EQ(unwell.status, 1);
  EXPECT_NE(unwell.out.find("stage b  demo-b  not ready "), std::string::npos) << unwell.out;
  EXPECT_NE(unwell.out.find("\n         no quota\n"), std::string::npos) << unwell.out;
  deployed({service("demo-a"), service("demo-b")});
  EXPECT_EQ(status().status, 0);
}

TEST_F(CloudWatch, ShowsStatusWithinEightyColumns) {
  deployed({service("demo-a"), service("demo-b")});
  const std::string out = status().out;
  for (const std::string_view line : testing::lines_of(out)) EXPECT_LE(line.size(), 80u) << line;
}

TEST_F(CloudWatch, IgnoresServicesOfOtherDeployments) {
  deployed({service("demo-a"), service("demo-b"), service("demo-x-a"), service("other-b")});
  const Json report = parse_json(status(true).out).value();
  ASSERT_EQ(report["services"].size(), 2u);
  EXPECT_EQ(report["services"][1]["service"], "demo-b");
  EXPECT_EQ(report["services"][1]["url"], "https://demo-b-42.europe-west4.run.app");
  EXPECT_EQ(report["services"][1]["state"], "ready");
  EXPECT_EQ(report["services"][1]["max_instances"], "1");
  EXPECT_FALSE(report.contains("stages")) << "asking them would start instances";
}

constexpr const char* kEntries = R"([
  {"insertId": "3", "timestamp": "2026-01-01T00:00:02Z", "severity": "INFO", "textPayload": "third",
   "resource": {"labels": {"service_name": "demo-b"}}},
  {"insertId": "2", "timestamp": "2026-01-01T00:00:01Z", "severity": "WARNING",
   "jsonPayload": {"message": "second", "severity": "WARNING", "layers": "0-19", "ms": 12},
   "resource": {"labels": {"service_name": "demo-a"}}},
  {"insertId": "2", "timestamp": "2026-01-01T00:00:01Z", "severity": "WARNING", "textPayload": "second again",
   "resource": {"labels": {"service_name": "demo-a"}}},
  {"timestamp": "2026-01-01T00:00:00Z", "severity": "INFO", "textPayload": "first"}])";

TEST_F(CloudWatch, PrintsLogsOldestFirstAndEachOnce) {
  answers_["logging read"] = {0, kEntries, ""};
  EXPECT_EQ(logs().out,
            "2026-01-01T00:00:00Z  INFO first\n"
            "2026-01-01T00:00:01Z a WARNING second again\n"
            "2026-01-01T00:00:02Z b INFO third\n");
}

TEST_F(CloudWatch, AsksForTheLogsOfTheStagesThatAreMeant) {
  answers_["logging read"] = {0, "[]", ""};
  EXPECT_EQ(logs("", 7).status, 0);
  EXPECT_NE(calls_.back().find("service_name=(\"demo-a\" OR \"demo-b\")"), std::string::npos) << calls_.back();
  EXPECT_NE(calls_.back().find("--limit=7"), std::string::npos) << calls_.back();
  EXPECT_EQ(logs("b").status, 0);
  EXPECT_NE(calls_.back().find("service_name=(\"demo-b\")"), std::string::npos) << calls_.back();
  calls_.clear();
  EXPECT_EQ(logs("c").problem, "there is no stage c; the last one is b");
  EXPECT_TRUE(calls_.empty()) << "nothing is asked then";
}

TEST_F(CloudWatch, SaysWhyLogsCannotBeRead) {
  answers_["logging read"] = {1, "", "ERROR: (gcloud.logging.read) PERMISSION_DENIED: Permission denied."};
  const std::string problem = logs().problem;
  EXPECT_TRUE(problem.starts_with("step logs: PERMISSION_DENIED: Permission denied")) << problem;
  EXPECT_NE(problem.find("roles/logging.viewer"), std::string::npos) << problem;
}

TEST_F(CloudWatch, FindsStageAWithTheTokenOfThePerson) {
  answers_["run services describe demo-a"] = {0, "https://demo-a-42.europe-west4.run.app\n", ""};
  answers_["auth print-identity-token"] = {0, "t0ken\n", ""};
  const auto found = find_cloud_api(choice_, outside_);
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_EQ(found->url, "https://demo-a-42.europe-west4.run.app");
  EXPECT_EQ(found->identity_token, "t0ken");
  EXPECT_EQ(found->model, "m");
  variables_["COMMISSURE_IDENTITY_TOKEN"] = "given";
  calls_.clear();
  EXPECT_EQ(find_cloud_api(choice_, outside_)->identity_token, "given");
  EXPECT_EQ(calls_.size(), 1u) << "gcloud is not asked for another";
}

TEST_F(CloudWatch, NeedsNoTokenWhereEverybodyMayCall) {
  choice_.file = folder_.write("open.yaml", "name: demo\nproject: acme\nregion: europe-west4\nmodel: m\naccess: key\n");
  answers_["run services describe"] = {0, "https://a.example\n", ""};
  variables_["COMMISSURE_API_KEY"] = "k";
  const auto found = find_cloud_api(choice_, outside_);
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_EQ(found->api_key, "k");
  EXPECT_EQ(found->identity_token, "");
}

TEST_F(CloudWatch, SaysThatNothingIsDeployedAndHowToMendIt) {
  answers_["run services describe"] = {1, "", "ERROR: (gcloud.run.services.describe) Cannot find service [demo-a]"};
  EXPECT_EQ(find_cloud_api(choice_, outside_).error().message(),
            "the deployment demo is not on Cloud Run in acme, europe-west4; put it there with: commissure up");
  answers_["run services describe"] = {1, "", "ERROR: (gcloud.run) PERMISSION_DENIED: no."};
  EXPECT_NE(find_cloud_api(choice_, outside_).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace commissure
