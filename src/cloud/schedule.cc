// Waking by the clock: a Cloud Scheduler job that asks stage A how the chain is, which starts all of it.
#include "cloud/grants.h"
#include "cloud/marks.h"
#include "cloud/steps.h"
#include "core/json_fields.h"

namespace commissure {

namespace {

using Facts = std::map<std::string, std::string>;

/// /health is open to those without the API key; asking it starts stage A, which wakes the others. A call that gets no
/// good answer is repeated.
Facts wanted_job(const CloudSpec& spec, const std::string& url) {
  const bool guarded = spec.access == CloudCallers::kIam;
  return {{"schedule", spec.warm_schedule},
          {"time zone", spec.time_zone},
          {"address", url + "/health"},
          {"method", "GET"},
          {"retries", "5"},
          {"description", deployment_mark(spec)},
          {"account", guarded ? spec.account("warm") : ""},
          {"audience", guarded ? url : ""}};
}

Facts observed_job(const Json& job) {
  static const Json kNone = Json::object();
  const auto inner = [](const Json& outer, const char* key) -> const Json& {
    const Json* found = find_member(outer, key);
    return found == nullptr ? kNone : *found;
  };
  const Json& target = inner(job, "httpTarget");
  const Json& token = inner(target, "oidcToken");
  const Json* retries = find_member(inner(job, "retryConfig"), "retryCount");
  return {{"schedule", text_of(job, "schedule")},
          {"time zone", text_of(job, "timeZone")},
          {"address", text_of(target, "uri")},
          {"method", text_of(target, "httpMethod")},
          {"description", text_of(job, "description")},
          {"retries", retries == nullptr ? "0" : dump_json(*retries)},
          {"account", text_of(token, "serviceAccountEmail")},
          {"audience", text_of(token, "audience")}};
}

ProgramCall job_call(const CloudSpec& spec, const Facts& wanted, bool is_there) {
  std::vector<std::string> arguments = {"scheduler",
                                        "jobs",
                                        is_there ? "update" : "create",
                                        "http",
                                        spec.warm_job(),
                                        "--location=" + spec.region,
                                        "--project=" + spec.project,
                                        "--schedule=" + wanted.at("schedule"),
                                        "--time-zone=" + wanted.at("time zone"),
                                        "--uri=" + wanted.at("address"),
                                        "--http-method=" + wanted.at("method"),
                                        "--description=" + wanted.at("description"),
                                        "--attempt-deadline=180s",
                                        "--max-retry-attempts=" + wanted.at("retries"),
                                        "--min-backoff=30s",
                                        "--max-backoff=120s"};
  if (!wanted.at("account").empty()) {
    arguments.push_back("--oidc-service-account-email=" + wanted.at("account"));
    arguments.push_back("--oidc-token-audience=" + wanted.at("audience"));
  } else if (is_there) {
    arguments.emplace_back("--clear-auth-token");
  }
  return gcloud(std::move(arguments));
}

/// Its account may call stage A and nothing else.
void want_right(const CloudSpec& spec, const CloudState& state, CloudStep& step) {
  const std::string service = spec.service("a");
  const std::string member = "serviceAccount:" + spec.account("warm");
  const auto policy = state.service_policies.find(service);
  if (policy != state.service_policies.end() && has_role(policy->second, "roles/run.invoker", member)) return;
  step.differences.push_back(spec.account_id("warm") + " on " + service + ": roles/run.invoker absent");
  step.calls.push_back(gcloud({"run", "services", "add-iam-policy-binding", service, "--member=" + member,
                               "--role=roles/run.invoker", "--region=" + spec.region, "--project=" + spec.project}));
}

}  // namespace

CloudStep schedule_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"schedule", "wakes the stages by the clock", "roles/cloudscheduler.admin", {}, {}};
  if (spec.warm_schedule.empty()) {
    if (!state.warm_job) return step;
    if (!is_own_job(spec, *state.warm_job)) {
      step.warnings.push_back("job " + spec.warm_job() + " was not made by this deployment and stays");
      return step;
    }
    step.differences.push_back("job " + spec.warm_job() + ": no schedule asks for it");
    step.calls.push_back(gcloud(
        {"scheduler", "jobs", "delete", spec.warm_job(), "--location=" + spec.region, "--project=" + spec.project}));
    return step;
  }
  std::string url = state.url(spec.service("a"));
  if (url.empty()) url = "https://" + spec.service("a") + "-PROJECT_NUMBER." + spec.region + ".run.app";  // a dry run
  const Facts wanted = wanted_job(spec, url);
  if (!wanted.at("account").empty()) want_right(spec, state, step);
  const std::size_t n_before = step.differences.size();
  if (!state.warm_job) {
    step.differences.push_back("job " + spec.warm_job() + ": absent");
  } else {
    const Facts observed = observed_job(*state.warm_job);
    for (const auto& [name, value] : wanted) {
      if (observed.at(name) != value)
        step.differences.push_back(name + ": " + observed.at(name) + " instead of " + value);
    }
  }
  if (step.differences.size() > n_before) step.calls.push_back(job_call(spec, wanted, state.warm_job.has_value()));
  return step;
}

}  // namespace commissure
