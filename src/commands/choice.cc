#include "commands/choice.h"

#include <cstdio>
#include <cstdlib>

#include "cloud/endpoint.h"
#include "commands/outside.h"

namespace commissure {

void add_cloud_flags(CLI::App& app, CloudChoice& choice) {
  const auto named = [&choice](const std::string&) { choice.is_named = true; };
  app.add_option("--file,--config", choice.file, "the deployment's file")->capture_default_str()->each(named);
  app.add_option("--deployment", choice.deployment, "its name, where the file holds several")->each(named);
}

void add_local_flags(CLI::App& app, LocalChoice& choice) {
  CLI::Option* cloud = app.add_flag("--cloud", choice.is_cloud, "the deployment of commissure.yaml is meant");
  app.add_flag("--local", choice.is_local, "a chain on this machine is meant")->excludes(cloud);
  app.add_option("--name", choice.name, "the chain of that name on this machine, where several run")->excludes(cloud);
}

void add_work_flags(CLI::App& app, CloudWorkOptions& options) {
  add_cloud_flags(app, options.choice);
  app.add_option("--source", options.source, "root of the source tree; default: where this program was built");
  app.add_flag("--dry-run", options.dry_run, "print the commands of a first run; ask and change nothing");
  app.add_flag("--json", options.as_json, "one JSON object a line on standard output");
}

void add_api_flags(CLI::App& app, ApiChoice& choice) {
  app.add_option("--url", choice.url,
                 "endpoint; default: COMMISSURE_URL, the local chain, or the deployment in --file");
  add_local_flags(app, choice.local);
  add_cloud_flags(app, choice.cloud);
  for (const char* other : {"--local", "--cloud", "--name", "--deployment"})
    app.get_option(other)->excludes(app.get_option("--url"));
}

Result<std::optional<LocalState>> choose_local(const LocalChoice& local, const CloudChoice& cloud) {
  if (local.is_cloud || cloud.is_named) return std::optional<LocalState>();
  auto state = TRY(find_local_chain(local.name));
  if (local.is_local || !local.name.empty()) {
    if (state) return state;
    return Error(Code::kNotFound, "no chain", local.name.empty() ? "" : " of the name ", local.name,
                 " runs on this machine; start it with: commissure up --local");
  }
  const bool has_file = has_deployment_file(cloud);
  if (state && has_file) {
    return Error(Code::kFailedPrecondition, "both are here: the chain ", state->chain.name, " on this machine (",
                 state->chain.model_name, " at ", state->url(), ") and the deployment in ", cloud.file,
                 "; say which one with --local or --cloud");
  }
  if (has_file) std::fprintf(stderr, "the deployment in %s is meant\n", cloud.file.c_str());
  return state;
}

ApiAddress local_api(const LocalState& state) {
  const char* key = std::getenv("COMMISSURE_API_KEY");
  return {.url = state.url(), .api_key = key == nullptr ? "" : key};
}

Result<ApiAddress> find_api(const ApiChoice& choice) {
  if (choice.cloud.is_named || choice.local.is_cloud) return find_cloud_api(choice.cloud, cloud_outside());
  const char* key = std::getenv("COMMISSURE_API_KEY");
  const char* token = std::getenv("COMMISSURE_IDENTITY_TOKEN");
  ApiAddress endpoint{choice.url, key == nullptr ? "" : key, token == nullptr ? "" : token};
  const bool names_local = choice.local.is_local || !choice.local.name.empty();
  if (endpoint.url.empty() && !names_local) {
    if (const char* named = std::getenv("COMMISSURE_URL"); named != nullptr) endpoint.url = named;
  }
  if (endpoint.url.empty()) {
    const auto state = TRY(choose_local(choice.local, choice.cloud));
    if (!state && has_deployment_file(choice.cloud)) return find_cloud_api(choice.cloud, cloud_outside());
    if (!state)
      return Error(
          Code::kNotFound,
          "nothing is running here; start it with: commissure up --local --detach (or name an endpoint with --url)");
    return local_api(*state);
  }
  while (!endpoint.url.empty() && endpoint.url.back() == '/') endpoint.url.pop_back();
  return endpoint;
}

WatchedProcesses processes_of(const std::optional<LocalState>& local, bool is_new) {
  if (!local) return {};
  return {local->stages.size(), [name = local->chain.name, is_new]() -> Status {
            const auto state = TRY(read_local_state(name));
            if (!state) return Error(Code::kUnavailable, "the chain ", name, " was taken down");
            const bool is_watched = state->chain.restarts && is_alive(state->supervisor);
            for (const StageProcess& stage : state->stages) {
              if (is_new && stage.deaths > 0)
                return Error(Code::kUnavailable, "stage ", stage.name, " ", stage.last_death);
              if (!stage.given_up && (is_watched || is_alive(stage.process))) continue;
              return Error(Code::kUnavailable, "stage ", stage.name, " ",
                           stage.last_death.empty() ? "ended" : stage.last_death,
                           ", and nobody starts it again; `commissure up --local` does (whole log: commissure logs "
                           "--stage ",
                           stage.name, ")");
            }
            return {};
          }};
}

}  // namespace commissure
