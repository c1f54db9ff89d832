// What is taken away: all of a deployment, or what its file no longer asks for.
#include <algorithm>

#include "cloud/grants.h"
#include "cloud/marks.h"
#include "cloud/ownership.h"
#include "cloud/steps.h"

namespace commissure {

namespace {

ProgramCall delete_service(const CloudSpec& spec, const std::string& service, const std::string& region) {
  return gcloud({"run", "services", "delete", service, "--region=" + region, "--project=" + spec.project});
}

bool is_stage_of_file(const CloudSpec& spec, const std::string& service) {
  return std::ranges::any_of(spec.stages,
                             [&](const CloudStage& stage) { return spec.service(stage.letter) == service; });
}

void remove_elsewhere(const CloudSpec& spec, const CloudState& state, CloudStep& step) {
  for (const auto& [service, region] : state.services_elsewhere) {
    step.differences.push_back("service " + service + " in " + region);
    step.calls.push_back(delete_service(spec, service, region));
  }
}

CloudStep services_removal(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"services", "the stages, first to last", "roles/run.admin", {}, {}};
  for (const auto& [service, body] : state.services) {
    if (owner_of_service(body) != spec.name) {
      step.warnings.push_back("service " + service + " was not made by this deployment and stays");
      continue;
    }
    step.differences.push_back("service " + service);
    step.calls.push_back(delete_service(spec, service, spec.region));
  }
  remove_elsewhere(spec, state, step);
  return step;
}

void remove_bucket(const CloudSpec& spec, const std::string& bucket, CloudStep& step) {
  step.differences.push_back("bucket gs://" + bucket);
  step.calls.push_back(gcloud({"storage", "rm", "--recursive", "gs://" + bucket, "--project=" + spec.project}));
}

CloudStep buckets_removal(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"bucket", "with the weights", "roles/storage.admin", {}, {}};
  std::set<std::string> buckets = state.own_buckets;
  if (is_own_bucket(spec, state)) buckets.insert(spec.bucket);
  if (state.bucket && !buckets.contains(spec.bucket))
    step.warnings.push_back("gs://" + spec.bucket + " was not made by this deployment and stays");
  for (const std::string& bucket : buckets) remove_bucket(spec, bucket, step);
  return step;
}

CloudStep repository_removal(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"repository", "with the images", "roles/artifactregistry.admin", {}, {}};
  if (!state.repository) return step;
  if (owner_of(*state.repository) != spec.name) {
    step.warnings.push_back("repository " + spec.name + " was not made by this deployment and stays");
    return step;
  }
  step.differences.push_back("repository " + spec.name);
  step.calls.push_back(gcloud(
      {"artifacts", "repositories", "delete", spec.name, "--location=" + spec.region, "--project=" + spec.project}));
  return step;
}

/// `is_kept`: of a secret's name.
template <typename Kept>
CloudStep secrets_removal(const CloudSpec& spec, const CloudState& state, const Kept& is_kept) {
  CloudStep step{"secrets", "with their values", "roles/secretmanager.admin", {}, {}};
  for (const auto& [secret, owner] : state.secret_owners) {
    if (is_kept(secret)) continue;
    if (owner != spec.name) {
      step.warnings.push_back("secret " + secret + " was not made by this deployment and stays");
      continue;
    }
    step.differences.push_back("secret " + secret);
    step.calls.push_back(gcloud({"secrets", "delete", secret, "--project=" + spec.project}));
  }
  return step;
}

/// Of all stages that there could be, of an older, longer chain too. `is_kept`: of an account's role.
template <typename Kept>
CloudStep accounts_removal(const CloudSpec& spec, const CloudState& state, const Kept& is_kept) {
  CloudStep step{"accounts", "of the stages and of what works for them", "roles/iam.serviceAccountAdmin", {}, {}};
  std::vector<std::string> roles = {"build", "warm"};
  for (char letter = 'a'; letter <= 'z'; ++letter) roles.emplace_back(1, letter);
  for (const std::string& role : roles) {
    const auto found = state.accounts.find(spec.account(role));
    if (found == state.accounts.end() || is_kept(role)) continue;
    if (!is_own_account(spec, found->second)) {
      step.warnings.push_back("account " + spec.account_id(role) + " was not made by this deployment and stays");
      continue;
    }
    step.differences.push_back("account " + spec.account_id(role));
    step.calls.push_back(
        gcloud({"iam", "service-accounts", "delete", spec.account(role), "--project=" + spec.project}));
  }
  return step;
}

/// What the deployment's accounts may do on a bucket and need not.
void remove_grants(const CloudSpec& spec, const std::string& bucket, const Json& policy, CloudStep& step) {
  const std::string prefix = "serviceAccount:" + spec.name + "-", at = "@" + spec.project + ".iam.gserviceaccount.com";
  for (const Grant& grant : grants_of(policy)) {
    if (!grant.member.starts_with(prefix) || !grant.member.ends_with(at)) continue;
    const std::string role = grant.member.substr(prefix.size(), grant.member.size() - prefix.size() - at.size());
    const bool is_stage = std::ranges::find(spec.stages, role, &CloudStage::letter) != spec.stages.end();
    const bool could_be = role == "build" || (role.size() == 1 && role >= "a" && role <= "z");
    const bool reads_weights = is_stage && !spec.weights.baked && bucket == spec.weights.bucket &&
                               grant.role == "roles/storage.objectViewer" &&
                               grant.expression() == weights_expression(spec);
    if (role == "build" || !could_be || reads_weights) continue;
    const bool is_wide = grant.expression().empty();
    step.differences.push_back("account " + spec.account_id(role) + " on gs://" + bucket + ": " + grant.role +
                               (is_wide ? " on all of it" : ", with a condition for something else"));
    step.calls.push_back(
        gcloud({"storage", "buckets", "remove-iam-policy-binding", "gs://" + bucket, "--project=" + spec.project,
                "--member=" + grant.member, "--role=" + grant.role, "--condition=" + grant.condition_flag()}));
  }
}

}  // namespace

std::vector<CloudStep> removal_steps(const CloudSpec& spec, const CloudState& state, bool all) {
  std::vector<CloudStep> steps = {services_removal(spec, state)};
  if (state.warm_job) {  // it would go on calling what is not there
    CloudSpec without = spec;
    without.warm_schedule.clear();
    steps.insert(steps.begin(), schedule_step(without, state));
  }
  if (!all) return steps;
  const auto keeps_none = [](const std::string&) { return false; };
  steps.push_back(buckets_removal(spec, state));
  steps.push_back(repository_removal(spec, state));
  steps.push_back(secrets_removal(spec, state, keeps_none));
  steps.push_back(accounts_removal(spec, state, keeps_none));
  return steps;
}

std::vector<CloudStep> prune_steps(const CloudSpec& spec, const CloudState& state) {
  CloudStep services{"left services", "the file has no such stage", "roles/run.admin", {}, {}};
  for (const auto& [service, body] : state.services) {
    if (is_stage_of_file(spec, service) || owner_of_service(body) != spec.name) continue;
    services.differences.push_back("service " + service);
    services.calls.push_back(delete_service(spec, service, spec.region));
  }
  remove_elsewhere(spec, state, services);
  CloudStep rights{"left rights", "on the buckets", "roles/storage.admin", {}, {}};
  for (const auto& [bucket, policy] : state.bucket_policies) remove_grants(spec, bucket, policy, rights);
  CloudStep buckets{"left buckets", "with all that they hold", "roles/storage.admin", {}, {}};
  for (const std::string& bucket : state.own_buckets) {
    if (bucket != spec.bucket && bucket != spec.weights.bucket) remove_bucket(spec, bucket, buckets);
  }
  CloudStep secrets = secrets_removal(spec, state, [&](const std::string& name) {
    return (spec.hub_token && name == spec.hub_secret()) || (spec.api_key && name == spec.key_secret());
  });
  secrets.name = "left secrets";
  CloudStep accounts = accounts_removal(spec, state, [&](const std::string& role) {
    if (role == "warm") return !spec.warm_schedule.empty() && spec.access == CloudCallers::kIam;
    return role == "build" || std::ranges::find(spec.stages, role, &CloudStage::letter) != spec.stages.end();
  });
  accounts.name = "left accounts";
  std::vector<CloudStep> steps = {services, rights, buckets};
  if (!spec.own_image) {
    steps.push_back(repository_removal(spec, state));
    steps.back().name = "left repository";
  }
  steps.push_back(std::move(secrets));
  steps.push_back(std::move(accounts));
  for (CloudStep& step : steps) step.warnings.clear();  // what is not ours is nobody's left-over here
  return steps;
}

}  // namespace commissure
