#include "cloud/endpoint.h"

#include "cloud/failure.h"
#include "cloud/secrets.h"
#include "terminal/gcloud.h"

namespace commissure {

namespace {

Result<std::string> identity_token(const CloudSpec& spec, const Environment& environment, const ProgramRunner& run) {
  if (const auto given = environment("COMMISSURE_IDENTITY_TOKEN")) return *given;
  const ProgramCall call = gcloud({"auth", "print-identity-token"});
  const ProgramAnswer answer = TRY(run(call));
  if (!answer.good()) return explain_failure(spec, {"token", "", "roles/run.invoker", {}, {}}, call, answer);
  return answer.output.substr(0, answer.output.find('\n'));
}

}  // namespace

Result<ApiAddress> address_of(const CloudSpec& spec, const std::string& url, const Environment& environment,
                              const ProgramRunner& run) {
  ApiAddress address{url, read_secrets(environment).api_key};
  if (spec.access == CloudCallers::kIam) address.identity_token = TRY(identity_token(spec, environment, run));
  return address;
}

Result<ApiAddress> find_cloud_api(const CloudChoice& choice, const CloudOutside& outside) {
  const CloudFile file = TRY(read_cloud_file(choice, outside.environment));
  const CloudSpec& spec = file.spec;
  const ProgramRunner run = outside.quiet();
  const ProgramCall call = gcloud({"run", "services", "describe", spec.service("a"), "--region=" + spec.region,
                                   "--project=" + spec.project, "--format=value(status.url)"});
  const ProgramAnswer answer = TRY(run(call));
  if (says_absent(answer)) {
    return Error(Code::kNotFound, "the deployment ", spec.name, " is not on Cloud Run in ", spec.project, ", ",
                 spec.region, "; put it there with: commissure up");
  }
  if (!answer.good()) return explain_failure(spec, {"find", "", "roles/run.viewer", {}, {}}, call, answer);
  const std::string url = answer.output.substr(0, answer.output.find('\n'));
  ApiAddress address = TRY(address_of(spec, url, outside.environment, run));
  address.model = file.model;
  return address;
}

}  // namespace commissure
