// What a deployment stands on: APIs, repository, bucket, accounts, secrets and who may read what.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "cloud/grants.h"
#include "cloud/marks.h"
#include "cloud/quota.h"
#include "cloud/secrets.h"
#include "cloud/steps.h"

namespace commissure {

namespace {

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::vector<std::string> needed_apis(const CloudSpec& spec) {
  std::vector<std::string> apis = {"artifactregistry.googleapis.com",
                                   "cloudbuild.googleapis.com",
                                   "cloudresourcemanager.googleapis.com",
                                   "iam.googleapis.com",
                                   "logging.googleapis.com",
                                   "run.googleapis.com",
                                   "storage.googleapis.com"};
  if (spec.hub_token || spec.api_key) apis.emplace_back("secretmanager.googleapis.com");
  if (!spec.network.empty()) apis.emplace_back("compute.googleapis.com");
  if (!spec.warm_schedule.empty()) apis.emplace_back("cloudscheduler.googleapis.com");
  if (!gpu_quotas(spec).empty()) apis.emplace_back("cloudquotas.googleapis.com");
  return apis;
}

/// Keeps the three newest images; all others go after a day.
constexpr const char* kCleanup =
    R"([{"name":"keep-newest","action":{"type":"Keep"},"mostRecentVersions":{"keepCount":3}},)"
    R"({"name":"delete-old","action":{"type":"Delete"},"condition":{"olderThan":"1d"}}])";

std::string unmarked(const std::string& what) { return what + ": label " + kDeploymentLabel + " absent"; }

CloudStep repository_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"repository", "holds the image", "roles/artifactregistry.admin", {}, {}};
  const std::vector<std::string> where = {"--location=" + spec.region, "--project=" + spec.project};
  if (!state.repository) {
    step.differences.push_back("repository " + spec.name + ": absent");
    step.calls.push_back(gcloud({"artifacts", "repositories", "create", spec.name, "--repository-format=docker",
                                 where[0], where[1], "--labels=" + deployment_mark(spec)}));
  } else if (owner_of(*state.repository) != spec.name) {
    step.differences.push_back(unmarked("repository " + spec.name));
    step.calls.push_back(gcloud({"artifacts", "repositories", "update", spec.name, where[0], where[1],
                                 "--update-labels=" + deployment_mark(spec)}));
  }
  const Json* policies = state.repository ? find_member(*state.repository, "cleanupPolicies") : nullptr;
  if (policies == nullptr || !policies->contains("keep-newest")) {
    step.differences.emplace_back("clean-up policy: absent");
    ProgramCall call = gcloud({"artifacts", "repositories", "set-cleanup-policies", spec.name, where[0], where[1],
                               "--policy=-", "--no-dry-run"});
    call.input = kCleanup;
    step.calls.push_back(std::move(call));
  }
  return step;
}

/// Weights of another region cost time and money with every cold start; baked ones once.
void warn_of_distance(const CloudSpec& spec, const std::string& bucket, const std::string& location, const char* cure,
                      CloudStep& step) {
  if (location.empty() || location == upper(spec.region) || spec.weights.baked) return;
  step.warnings.push_back(
      fmt::format("gs://{} lies in {}, the stages in {}: every cold start reads across regions, slower and for about "
                  "$0.02 per GiB; {}",
                  bucket, location, spec.region, cure));
}

CloudStep bucket_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"bucket", "holds the weights", "roles/storage.admin", {}, {}};
  const std::string url = "gs://" + spec.bucket;
  const ProgramCall label = gcloud(
      {"storage", "buckets", "update", url, "--project=" + spec.project, "--update-labels=" + deployment_mark(spec)});
  if (!state.bucket) {
    step.differences.push_back(url + ": absent");
    step.calls.push_back(
        gcloud({"storage", "buckets", "create", url, "--project=" + spec.project, "--location=" + spec.region,
                "--uniform-bucket-level-access", "--public-access-prevention"}));
    step.calls.push_back(label);
    return step;
  }
  // One with the name that we give: an `up` ended before the label, or it is adopted.
  if (names_own_bucket(spec) && owner_of(*state.bucket) != spec.name) {
    step.differences.push_back(unmarked(url));
    step.calls.push_back(label);
  }
  const Json* location = find_member(*state.bucket, "location");
  if (spec.weights.bucket == spec.bucket && location != nullptr && location->is_string())
    warn_of_distance(spec, spec.bucket, location->get<std::string>(),
                     "name a new bucket in commissure.yaml to have it beside the stages", step);
  return step;
}

CloudStep accounts_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"accounts", "one identity per stage", "roles/iam.serviceAccountAdmin", {}, {}};
  const auto want = [&](const std::string& role, const std::string& purpose) {
    const std::string title = "--display-name=" + account_title(spec, purpose), project = "--project=" + spec.project;
    const auto found = state.accounts.find(spec.account(role));
    if (found == state.accounts.end()) {
      step.differences.push_back("account " + spec.account_id(role) + ": absent");
      step.calls.push_back(gcloud({"iam", "service-accounts", "create", spec.account_id(role), project, title}));
    } else if (!is_own_account(spec, found->second)) {
      step.differences.push_back("account " + spec.account_id(role) + ": its name is not one that `up` gives");
      step.calls.push_back(gcloud({"iam", "service-accounts", "update", spec.account(role), project, title}));
    }
  };
  for (const CloudStage& stage : spec.stages) want(stage.letter, "stage " + stage.letter);
  want("build", "builds the image, fetches the weights");
  if (!spec.warm_schedule.empty() && spec.access == CloudCallers::kIam) want("warm", "wakes the stages by a schedule");
  return step;
}

CloudStep secrets_step(const CloudSpec& spec, const CloudState& state, const CloudSecrets& secrets) {
  CloudStep step{"secrets", "keys that no argument, log or image shows", "roles/secretmanager.admin", {}, {}};
  const auto want = [&](const std::string& name, const std::string& value, const char* variable, const char* how) {
    const auto owner = state.secret_owners.find(name);
    const bool is_there = state.secrets.contains(name);
    if (is_there && owner != state.secret_owners.end() && owner->second != spec.name) {
      step.differences.push_back(unmarked("secret " + name));
      step.calls.push_back(
          gcloud({"secrets", "update", name, "--project=" + spec.project, "--update-labels=" + deployment_mark(spec)}));
    }
    if (is_there && state.secrets.at(name)) return;
    step.differences.push_back("secret " + name + (is_there ? ": without a value" : ": absent"));
    if (value.empty())
      step.missing = fmt::format("set {} in the environment; its value becomes the secret {}: {}", variable, name, how);
    ProgramCall call =
        is_there ? gcloud({"secrets", "versions", "add", name, "--project=" + spec.project, "--data-file=-"})
                 : gcloud({"secrets", "create", name, "--project=" + spec.project, "--replication-policy=automatic",
                           "--labels=" + deployment_mark(spec), "--data-file=-"});
    call.input = value;
    call.secret_input = true;
    step.calls.push_back(std::move(call));
  };
  if (spec.hub_token) want(spec.hub_secret(), secrets.hub_token, "HF_TOKEN", kTokenHint);
  if (spec.api_key)
    want(spec.key_secret(), secrets.api_key, "COMMISSURE_API_KEY", "export COMMISSURE_API_KEY=$(openssl rand -hex 32)");
  return step;
}

const Json& policy_of(const std::map<std::string, Json>& policies, const std::string& name) {
  static const Json none;
  const auto found = policies.find(name);
  return found == policies.end() ? none : found->second;
}

/// Adds what is missing of one grant; `expression`: of its condition, "" for none.
void want_role(CloudStep& step, const Json& policy, const std::string& member, const std::string& role,
               const std::string& on, std::vector<std::string> call, const std::string& expression = "") {
  if (has_role(policy, role, member, expression)) return;
  step.differences.push_back(member.substr(member.find(':') + 1) + " on " + on + ": " + role + " absent");
  call.push_back("--member=" + member);
  call.push_back("--role=" + role);
  step.calls.push_back(gcloud(std::move(call)));
}

/// Each stage reads the model's folder and nothing else in the bucket; listing is a right on the bucket itself. A grant
/// for another folder stays until `up --prune`: the release before may have to read it.
void want_weights(const CloudSpec& spec, const CloudState& state, CloudStep& step) {
  const std::string& bucket = spec.weights.bucket;
  const Json condition = {{"title", "weights-only"}, {"expression", weights_expression(spec)}};
  for (const CloudStage& stage : spec.stages) {
    const Grant grant{"roles/storage.objectViewer", "serviceAccount:" + spec.account(stage.letter), condition};
    want_role(step, policy_of(state.bucket_policies, bucket), grant.member, grant.role, spec.weights_folder() + "/",
              {"storage", "buckets", "add-iam-policy-binding", "gs://" + bucket, "--project=" + spec.project,
               "--condition=" + grant.condition_flag()},
              grant.expression());
  }
}

CloudStep access_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"access", "each account reads only its own", "roles/resourcemanager.projectIamAdmin", {}, {}};
  const std::string project = "--project=" + spec.project;
  const std::string build = "serviceAccount:" + spec.account("build");
  if (spec.weights.bucket != spec.bucket)
    warn_of_distance(spec, spec.weights.bucket, state.weights_location,
                     "copy the model to a bucket beside the stages and name that in `model`", step);
  if (!spec.weights.baked) {
    want_weights(spec, state, step);
  } else if (spec.weights.bucket != spec.bucket) {
    want_role(
        step, policy_of(state.bucket_policies, spec.weights.bucket), build, "roles/storage.objectViewer",
        spec.weights_folder(),
        {"storage", "buckets", "add-iam-policy-binding", "gs://" + spec.weights.bucket, project, "--condition=None"});
  }
  want_role(step, policy_of(state.bucket_policies, spec.bucket), build, "roles/storage.admin", "gs://" + spec.bucket,
            {"storage", "buckets", "add-iam-policy-binding", "gs://" + spec.bucket, project, "--condition=None"});
  if (spec.own_image) {
    want_role(step, state.repository_policy, build, "roles/artifactregistry.writer", "repository " + spec.name,
              {"artifacts", "repositories", "add-iam-policy-binding", spec.name, "--location=" + spec.region, project});
  }
  const auto secret = [&](const std::string& name, const std::string& member) {
    want_role(step, policy_of(state.secret_policies, name), member, "roles/secretmanager.secretAccessor",
              "secret " + name, {"secrets", "add-iam-policy-binding", name, project});
  };
  if (spec.hub_token) secret(spec.hub_secret(), build);
  if (spec.api_key) secret(spec.key_secret(), "serviceAccount:" + spec.account("a"));
  return step;
}

}  // namespace

std::string weights_expression(const CloudSpec& spec) {
  return "resource.type == \"storage.googleapis.com/Bucket\" || resource.name.startsWith(\"projects/_/buckets/" +
         spec.weights.bucket + "/objects/" + spec.weights.prefix + "/\")";
}

CloudStep apis_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"apis", "the services of Google that are used", "roles/serviceusage.serviceUsageAdmin", {}, {}};
  std::vector<std::string> call = {"services", "enable"};
  for (const std::string& api : needed_apis(spec)) {
    if (state.apis.contains(api)) continue;
    step.differences.push_back(api + ": not enabled");
    call.push_back(api);
  }
  if (step.differences.empty()) return step;
  call.push_back("--project=" + spec.project);
  step.calls.push_back(gcloud(std::move(call)));
  return step;
}

std::vector<CloudStep> foundation_steps(const CloudSpec& spec, const CloudState& state, const CloudSecrets& secrets) {
  std::vector<CloudStep> steps;
  if (spec.own_image) steps.push_back(repository_step(spec, state));
  steps.push_back(bucket_step(spec, state));
  steps.push_back(accounts_step(spec, state));
  if (spec.hub_token || spec.api_key) steps.push_back(secrets_step(spec, state, secrets));
  steps.push_back(access_step(spec, state));
  return steps;
}

}  // namespace commissure
