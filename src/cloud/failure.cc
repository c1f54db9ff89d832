#include "cloud/failure.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <tuple>
#include <utility>

#include "cloud/secrets.h"
#include "core/ascii.h"
#include "core/json.h"

namespace commissure {

namespace {

/// A kind of failure: words by which it is known, and what mends it. $PROJECT, $REGION, $ROLE, $NAME, $BUCKET, $SERVICE
/// are filled in.
struct Cure {
  std::initializer_list<const char*> words;  ///< in lower case
  Code code;
  const char* fix;
  bool while_reading = false;  ///< later on the project is known to be there
};

const Cure kCures[] = {
    {{"reauthentication", "refreshing your current auth tokens", "do not currently have an active account",
      "invalid authentication credentials", "unauthenticated", "invalid_grant", "credentials are invalid"},
     Code::kUnauthenticated,
     "your login is missing or has expired; run: gcloud auth login"},
    {{"billing must be enabled", "billing account", "billing_not_found", "billing to be enabled"},
     Code::kFailedPrecondition,
     "the project has no billing; link an account: gcloud billing projects link $PROJECT --billing-account=ID "
     "(IDs: gcloud billing accounts list)"},
    {{"does not have permission to access projects instance", "project not found", "unknown project"},
     Code::kNotFound,
     "check `project` in commissure.yaml (yours: gcloud projects list); if it is right you lack a role: gcloud "
     "projects add-iam-policy-binding $PROJECT --member=user:YOU --role=$ROLE",
     true},
    {{"allowable count of gpus", "gpu quota", "gpuallocpe", "gpualloc"},
     Code::kResourceExhausted,
     "ask for GPU quota in $REGION at https://console.cloud.google.com/iam-admin/quotas?project=$PROJECT (service "
     "run.googleapis.com), or choose another region or GPU"},
    {{"max instances must be set to"},
     Code::kResourceExhausted,
     "lower max_instances, cpu or memory of the stage in commissure.yaml, or ask for more CpuAllocPerProjectRegion and "
     "MemAllocPerProjectRegion at https://console.cloud.google.com/iam-admin/quotas?project=$PROJECT"},
    {{"quota restrictions, cannot run builds in this region", "cannot run builds in this region"},
     Code::kResourceExhausted,
     "Cloud Build is not open to this project in $REGION; build on this machine: commissure build --local"},
    {{"bucket name is not available", "does not have storage.buckets.get access", "already own it",
      "'storage.buckets.get'"},
     Code::kAlreadyExists,
     "the name gs://$BUCKET belongs to somebody else; set another bucket in commissure.yaml"},
    {{"permitted customer", "domain restricted", "allowedpolicymemberdomains"},
     Code::kPermissionDenied,
     "your organisation forbids public services; set access to iam in commissure.yaml"},
    {{"violates constraint", "orgpolicy", "organization policy"},
     Code::kPermissionDenied,
     "a policy of your organisation forbids it; ask its administrator"},
    {{"failed to start and listen", "healthcheckcontainererror", "container called exit", "startup probe"},
     Code::kFailedPrecondition,
     "the container ended or did not listen; see why: commissure logs --stage $STAGE"},
    {{"can only stream logs"},
     Code::kPermissionDenied,
     "the build goes on, you may not read its log; see when it is done: gcloud builds list --project=$PROJECT "
     "--region=$REGION; then run the same command again"},
    {{"setting iam policy failed"},
     Code::kPermissionDenied,
     "the service is there and others may not call it yet: run the same command again; if it says so again you lack a "
     "role (gcloud projects add-iam-policy-binding $PROJECT --member=user:YOU --role=$ROLE) or your organisation "
     "allows no public service: set access to iam"},
    {{"permission denied on secret"},
     Code::kPermissionDenied,
     "the grant needs up to two minutes to be known everywhere; run `commissure up` again"},
    {{"image '", "image not found", "failed to pull image"}, Code::kNotFound, "build it again: commissure build"},
    {{"is not supported in region", "not available in region", "unsupported region", "location is not found",
      "gpu is not supported", "accelerator"},
     Code::kInvalidArgument,
     "choose another region or GPU in commissure.yaml"},
    {{"unrecognized arguments", "invalid choice"},
     Code::kFailedPrecondition,
     "this gcloud is too old; run: gcloud components update"},
    {{"has not been used in project", "it is disabled", "service_disabled"},
     Code::kUnavailable,
     "the API was enabled a moment ago; run the same command again in a minute"},
    {{"actas"},
     Code::kPermissionDenied,
     "you may not act as the deployment's accounts; an owner of the project grants it: gcloud projects "
     "add-iam-policy-binding $PROJECT --member=user:YOU --role=roles/iam.serviceAccountUser"},
    {{"permission_denied", "permission denied", "does not have permission", "does not have storage", "forbidden", "403",
      "required '"},
     Code::kPermissionDenied,
     "you lack a role; an owner of the project grants it: gcloud projects add-iam-policy-binding $PROJECT "
     "--member=user:YOU --role=$ROLE"},
    {{"could not reach", "connection refused", "max retries exceeded", "name or service not known",
      "unable to find the server", "network is unreachable", "proxyerror", "sslerror"},
     Code::kUnavailable,
     "check the network and proxy of this machine, then run the same command again"},
    {{"unavailable", "internal error", "503", "backend error", "deadline"},
     Code::kUnavailable,
     "Google's service has a problem now; run the same command again"},
    {{"already exists"},
     Code::kAlreadyExists,
     "it is there, perhaps since a try whose answer was lost: run the same command again; if it says so again the name "
     "is taken: choose another deployment name in commissure.yaml"},
    {{"quota", "resource_exhausted", "429"},
     Code::kResourceExhausted,
     "a quota is used up; see https://console.cloud.google.com/iam-admin/quotas?project=$PROJECT"},
};

/// What mends a build, by the cause that its log tells.
std::string cure_of_build(const CloudSpec& spec, const std::string& cause) {
  const bool refused = holds_any(cause, {"access denied", "gated", "requires approval", "restricted", "401"});
  if (!refused || spec.weights.source != WeightsSource::kHub)
    return "its whole log is at the address above and in gs://$BUCKET/logs; run `commissure up` again to retry";
  const std::string terms = "accept its terms at https://huggingface.co/" + spec.weights.repository;
  if (!spec.hub_token)
    return "the model is gated: " + terms + ", set hub_token: true in commissure.yaml and " + kTokenHint;
  return "the token in the secret " + spec.hub_secret() + " may not read the model: " + terms +
         " with its account, or put another there: printf %s \"$HF_TOKEN\" | gcloud secrets versions add " +
         spec.hub_secret() + " --data-file=- --project=$PROJECT";
}

/// What mends a build or a push of this machine, by the program's words.
std::pair<Code, std::string> cure_of_builder(const ProgramCall& call, const std::string& cause) {
  const std::string& verb = call.arguments[1];
  if (holds_any(cause, {"docker daemon", "docker.sock"}))
    return {Code::kUnavailable, "start Docker, and see that you may use it: docker version"};
  if (holds_any(cause, {"no space left"})) return {Code::kResourceExhausted, "make room on this machine's disk"};
  if (verb == "login" && holds_any(cause, {"invalid username", "unauthorized", "401"}))
    return {Code::kUnauthenticated, "the registry does not take your login; run: gcloud auth login"};
  if (verb != "build" && holds_any(cause, {"denied", "unauthorized", "forbidden", "403", "401"}))
    return {Code::kPermissionDenied,
            "you may not write to the repository; an owner of the project grants it: gcloud projects "
            "add-iam-policy-binding $PROJECT --member=user:YOU --role=$ROLE"};
  if (holds_any(cause,
                {"no such host", "i/o timeout", "connection refused", "network is unreachable", "tls handshake"}))
    return {Code::kUnavailable, "check the network and proxy of this machine, then run the same command again"};
  return {Code::kFailedPrecondition, "see all that it says: " + command_line(call)};
}

void fill(std::string& text, const std::string& name, const std::string& value) {
  for (auto at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size())) {
    text.replace(at, name.size(), value);
  }
}

/// What a program that builds images says of its failure; some tell of it on standard output.
std::string builder_words(const ProgramAnswer& answer) {
  const std::string cause = last_build_line(answer.output + "\n" + answer.errors);
  return cause.empty() ? "exit status " + std::to_string(answer.status) + " without a word" : cause;
}

}  // namespace

Error explain_failure(const CloudSpec& spec, const CloudStep& step, const ProgramCall& call,
                      const ProgramAnswer& answer) {
  const bool is_google = call.arguments[0] == "gcloud";
  const std::string cause = is_google ? google_words(answer) : builder_words(answer);
  const std::string text = lower(cause + " " + answer.errors);
  Code code = Code::kUnknown;
  std::string fix = "the call was: " + command_line(call);
  if (!is_google) {
    std::tie(code, fix) = cure_of_builder(call, lower(cause));
  } else if (cause.find("completed with status") != std::string::npos) {
    code = Code::kFailedPrecondition;
    fix = cure_of_build(spec, lower(cause));
  } else {
    for (const Cure& cure : kCures) {
      if (cure.while_reading && step.name != "read") continue;
      if (!holds_any(text, cure.words)) continue;
      code = cure.code;
      fix = cure.fix;
      break;
    }
  }
  fill(fix, "$PROJECT", spec.project);
  fill(fix, "$REGION", spec.region);
  fill(fix, "$ROLE", step.role);
  fill(fix, "$NAME", spec.name);
  fill(fix, "$BUCKET", spec.bucket);
  fill(fix, "$STAGE", step.name.starts_with("stage ") ? step.name.substr(6) : "a");
  return Error(code, "step ", step.name, ": ", cause, "; ", fix);
}

bool passes_with_time(const ProgramAnswer& answer) {
  if (answer.good()) return false;
  const std::string text = lower(answer.errors);
  const bool too_new = holds_any(text, {"service account"}) && holds_any(text, {"does not exist", "not found"});
  return too_new || holds_any(text, {"concurrent policy changes", "version was not current", "conflict for resource"});
}

bool leaves_policy_unset(const ProgramAnswer& answer) {
  return answer.good() && holds_any(lower(answer.errors), {"setting iam policy failed"});
}

bool says_disabled(const ProgramAnswer& answer) {
  return !answer.good() && holds_any(lower(answer.errors), {"has not been used in project", "service_disabled"});
}

bool says_absent(const ProgramAnswer& answer) {
  const std::string text = lower(answer.errors);
  return !answer.good() && holds_any(text, {"not_found", "not found", "404", "does not exist", "could not be found",
                                            "cannot find", "matched no objects"});
}

}  // namespace commissure
