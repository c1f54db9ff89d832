#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "client/chain_watch.h"
#include "client/client.h"
#include "cloud/work.h"
#include "core/result.h"
#include "deployment/cloud_choice.h"
#include "local/local_state.h"

/// Which chain a command is about: its flags, and where it is.
namespace commissure {

void add_cloud_flags(CLI::App& app, CloudChoice& choice);

/// Those of all commands that change a deployment.
void add_work_flags(CLI::App& app, CloudWorkOptions& options);

/// What a person says of the endpoint: nothing, its URL, or a deployment of commissure.yaml.
struct ApiChoice {
  std::string url;
  CloudChoice cloud = {};
};

void add_api_flags(CLI::App& app, ApiChoice& choice);

/// The URL or the deployment that is named, else COMMISSURE_URL, else the local chain, else the deployment in
/// commissure.yaml. Errors: kNotFound, nothing is running and none was named; as find_cloud_api.
Result<ApiAddress> find_api(const ApiChoice& choice);

/// What waits for the chain watches of it, where it runs on this machine.
WatchedProcesses processes_of(const std::optional<LocalState>& local);

}  // namespace commissure
