#include "cloud/failure.h"

#include <gtest/gtest.h>

#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

std::string explained(const std::string& errors, const char* step = "bucket", const char* role = "roles/storage.admin",
                      const std::string& output = "") {
  return explain_failure(test_spec(), {step, "", role, {}, {}}, gcloud({"x"}), {1, output, errors}).message();
}

TEST(CloudFailure, NamesStepCauseAndCure) {
  EXPECT_EQ(
      explained("ERROR: (gcloud.storage.buckets.create) HTTPError 403: you@x does not have storage.buckets.create "
                "access to the project. This command is authenticated with an access token.\n"),
      "step bucket: HTTPError 403: you@x does not have storage.buckets.create access to the project; you lack a "
      "role; an owner of the project grants it: gcloud projects add-iam-policy-binding acme --member=user:YOU "
      "--role=roles/storage.admin");
  EXPECT_EQ(
      explained("Creating...\nERROR: (gcloud.storage.buckets.create) HTTPError 409: The requested bucket name is "
                "not available. Please select a different name and try again."),
      "step bucket: HTTPError 409: The requested bucket name is not available. Please select a different name and "
      "try again; the name gs://acme-demo belongs to somebody else; set another bucket in commissure.yaml");
}

TEST(CloudFailure, AServiceThatOthersMayNotCallIsOne) {
  const ProgramAnswer warned = {
      0, "",
      "Deploying...\nSetting IAM Policy...warning\nSetting IAM policy failed, try \"gcloud beta "
      "run services add-iam-policy-binding demo-a\""};
  EXPECT_TRUE(leaves_policy_unset(warned));
  EXPECT_FALSE(leaves_policy_unset({0, "", "Deploying...\nSetting IAM Policy...done"}));
  EXPECT_FALSE(leaves_policy_unset({1, "", "Setting IAM policy failed"}));
  EXPECT_TRUE(google_words(warned).starts_with("Setting IAM policy failed, try")) << google_words(warned);
}

TEST(CloudFailure, KnowsTheCommonOnes) {
  const std::pair<const char*, const char*> cases[] = {
      {"ERROR: (gcloud.run.deploy) UNAUTHENTICATED: Request had invalid authentication credentials.",
       "gcloud auth login"},
      {"ERROR: (gcloud.services.enable) FAILED_PRECONDITION: Billing account for project '1' is not found. Billing "
       "must be "
       "enabled for activation of service(s) 'run' to proceed.",
       "gcloud billing projects link acme"},
      {"ERROR: (gcloud.run.deploy) Quota exceeded for total allowable count of GPUs per project per region.",
       "ask for GPU quota in europe-west4"},
      {"ERROR: (gcloud.run.deploy) spec.template.spec: Max instances must be set to 2 or fewer to set the requested "
       "total CPU.",
       "lower max_instances"},
      {"ERROR: (gcloud.run.deploy) The user-provided container failed to start and listen on the port",
       "commissure logs --stage c"},
      {"ERROR: (gcloud.x) unrecognized arguments: --gpu-type", "gcloud components update"},
      {"ERROR: (gcloud.builds.submit) The build is running. This tool can only stream logs if you are Viewer/Owner",
       "gcloud builds list --project=acme --region=europe-west4"},
      {"ERROR: (gcloud.scheduler.jobs.create.http) ALREADY_EXISTS: Job [x] already exists.",
       "run the same command again; if it says so again the name is taken"},
      {"ERROR: (gcloud.run.deploy) PERMISSION_DENIED: Permission 'iam.serviceaccounts.actAs' denied on service account "
       "demo-c@acme.iam.gserviceaccount.com (or it may not exist).",
       "--role=roles/iam.serviceAccountUser"},
      {"Setting IAM policy failed, try \"gcloud beta run services add-iam-policy-binding\"", "set access to iam"},
      {"ERROR: gcloud crashed (ConnectionError): Max retries exceeded with url", "check the network"},
      {"ERROR: (gcloud.run.deploy) UNAVAILABLE: backend error", "run the same command again"},
      {"ERROR: (gcloud.x) One or more users named in the policy do not belong to a permitted customer.",
       "set access to iam"},
  };
  for (const auto& [errors, cure] : cases) {
    const std::string text = explained(errors, "stage c", "roles/run.admin");
    EXPECT_NE(text.find(cure), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
}

TEST(CloudFailure, TheProjectIsDoubtedOnlyUntilItWasRead) {
  const char* words =
      "ERROR: (gcloud.x) [me] does not have permission to access projects instance [acme] (or it may not exist)";
  const std::string first = explained(words, "read", "roles/viewer");
  EXPECT_NE(first.find("check `project`"), std::string::npos) << first;
  EXPECT_NE(first.find("--role=roles/viewer"), std::string::npos) << first;
  const std::string later = explained(words, "accounts", "roles/iam.serviceAccountAdmin");
  EXPECT_NE(later.find("you lack a role"), std::string::npos) << later;
  EXPECT_EQ(later.find("check `project`"), std::string::npos) << later;
}

TEST(CloudFailure, ReadsTheMessageOutOfABodyAndTheCauseOutOfABuild) {
  EXPECT_EQ(google_words({1, "",
                          R"(ERROR: (gcloud.artifacts.tags.list) HttpError accessing <https://x>: response: <{}>, )"
                          R"(content <{"error": {"code": 404, "message": "Requested entity was not found."}}>)"}),
            "Requested entity was not found");
  const std::string text = explained("ERROR: (gcloud.builds.submit) build 12 completed with status \"FAILURE\"",
                                     "image", "", "Step #0: compiling\nStep #0: fatal error: no space left\n----\n");
  EXPECT_NE(text.find("fatal error: no space left"), std::string::npos) << text;
}

TEST(CloudFailure, ABuildOfThisMachineHasOtherCures) {
  const auto said = [](const char* verb, const char* errors) {
    const ProgramCall call = {.arguments = {"docker", verb, "x"}};
    return explain_failure(test_spec(), {"image", "", "roles/artifactregistry.writer", {}, {}}, call, {1, "", errors})
        .message();
  };
  EXPECT_EQ(
      said("build",
           "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"),
      "step image: permission denied while trying to connect to the Docker daemon socket at "
      "unix:///var/run/docker.sock; start Docker, and see that you may use it: docker version");
  EXPECT_NE(said("login", "Error: logging into \"x\": invalid username/password")
                .find("; the registry does not take your login; run: gcloud auth login"),
            std::string::npos);
  EXPECT_NE(said("push", "denied: Permission \"x\" denied").find("--role=roles/artifactregistry.writer"),
            std::string::npos);
  EXPECT_EQ(said("build", "#12 fatal error: x.h: No such file\n------\nexit code: 1"),
            "step image: #12 fatal error: x.h: No such file; see all that it says: docker build x");
}

TEST(CloudFailure, ABuildThatTheHubRefusesIsToldOfTermsAndToken) {
  CloudSpec spec = test_spec();
  const ProgramAnswer answer{
      1,
      "Step #0 - \"fetch\": \x1b[1m\x1b[31mError: Access denied. Model 'google/gemma-3-27b-it' requires "
      "approval.\x1b[0m\nStep #0 - \"fetch\": hint: HF_DEBUG=1\nFinished Step #0 - \"fetch\"\nERROR\n"
      "ERROR: build step 0 \"python:3.12-slim\" failed: step exited with non-zero status: 1\n",
      "ERROR: (gcloud.builds.submit) build 12 completed with status \"FAILURE\""};
  const auto text = [&] { return explain_failure(spec, {"weights", "", "", {}, {}}, gcloud({"x"}), answer).message(); };
  EXPECT_EQ(
      text(),
      "step weights: build 12 completed with status \"FAILURE\": Step #0 - \"fetch\": Error: Access denied. Model "
      "'google/gemma-3-27b-it' requires approval; the model is gated: accept its terms at "
      "https://huggingface.co/google/gemma-3-27b-it, set hub_token: true in commissure.yaml and export HF_TOKEN=... "
      "(https://huggingface.co/settings/tokens)");
  spec.hub_token = true;
  EXPECT_NE(text().find("the token in the secret demo-hub-token may not read the model"), std::string::npos) << text();
  EXPECT_NE(text().find("gcloud secrets versions add demo-hub-token --data-file=- --project=acme"), std::string::npos);
}

TEST(CloudFailure, AnUnknownFailureShowsTheCall) {
  EXPECT_NE(explained("ERROR: strange").find("strange; the call was: gcloud x"), std::string::npos);
  EXPECT_NE(explained("").find("exit status 1 without a word"), std::string::npos);
}

TEST(CloudFailure, TellsWhatPassesWithTime) {
  EXPECT_TRUE(passes_with_time({1, "", "ERROR: INVALID_ARGUMENT: Service account x@y does not exist."}));
  EXPECT_FALSE(passes_with_time({1, "", "ERROR: PERMISSION_DENIED: no"}));
  EXPECT_FALSE(passes_with_time({0, "", "Service account x does not exist"}));
  EXPECT_TRUE(says_absent({1, "", "ERROR: gs://b not found: 404."}));
}

}  // namespace
}  // namespace commissure
