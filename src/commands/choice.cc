#include "commands/choice.h"

#include <cstdlib>

#include "cloud/endpoint.h"
#include "commands/outside.h"

namespace commissure {

void add_cloud_flags(CLI::App& app, CloudChoice& choice) {
  app.add_option("--file,--config", choice.file, "the deployment's file")->capture_default_str();
  app.add_option("--deployment", choice.deployment, "its name, where the file holds several");
}

void add_work_flags(CLI::App& app, CloudWorkOptions& options) {
  add_cloud_flags(app, options.choice);
  app.add_option("--source", options.source, "root of the source tree; default: where this program was built");
  app.add_flag("--dry-run", options.dry_run, "print the commands of a first run; ask and change nothing");
  app.add_flag("--json", options.as_json, "one JSON object a line on standard output");
}

void add_api_flags(CLI::App& app, ApiChoice& choice) {
  CLI::Option* url = app.add_option("--url", choice.url,
                                    "endpoint; default: COMMISSURE_URL, the local chain, or the deployment in --file");
  app.add_option("--file,--config", choice.cloud.file, "the deployment's file")->capture_default_str();
  app.add_option("--deployment", choice.cloud.deployment, "a deployment of that file, by name")->excludes(url);
}

Result<ApiAddress> find_api(const ApiChoice& choice) {
  if (!choice.cloud.deployment.empty() || choice.cloud.file != CloudChoice{}.file)
    return find_cloud_api(choice.cloud, cloud_outside());
  const char* key = std::getenv("COMMISSURE_API_KEY");
  const char* token = std::getenv("COMMISSURE_IDENTITY_TOKEN");
  ApiAddress endpoint{choice.url, key == nullptr ? "" : key, token == nullptr ? "" : token};
  if (endpoint.url.empty()) {
    if (const char* named = std::getenv("COMMISSURE_URL"); named != nullptr) endpoint.url = named;
  }
  if (endpoint.url.empty()) {
    const auto state = TRY(read_local_state());
    if (!state && has_deployment_file({})) return find_cloud_api(choice.cloud, cloud_outside());
    if (!state)
      return Error(
          Code::kNotFound,
          "nothing is running here; start it with: commissure up --local --detach (or name an endpoint with --url)");
    endpoint.url = state->url();
  }
  while (!endpoint.url.empty() && endpoint.url.back() == '/') endpoint.url.pop_back();
  return endpoint;
}

WatchedProcesses processes_of(const std::optional<LocalState>& local) {
  if (!local) return {};
  return {local->stages.size(), [local] { return check_alive(*local); }};
}

}  // namespace commissure
