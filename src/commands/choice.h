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

/// What a person says of chains on this machine.
struct LocalChoice {
  bool is_local = false;  ///< one of them is meant, not the deployment of a file
  bool is_cloud = false;  ///< the other way round
  std::string name = {};  ///< "": the only one there is
};

void add_local_flags(CLI::App& app, LocalChoice& choice);

/// The chain of this machine that is meant; empty when a deployment is, or when there is nothing. Where a deployment's
/// file is there too it says on standard error which of the two is meant. Errors: kFailedPrecondition, both are there,
/// or several chains, and none was named; kNotFound, the one that was named is not there; as read_local_state.
Result<std::optional<LocalState>> choose_local(const LocalChoice& local, const CloudChoice& cloud);

/// What a person says of the endpoint: nothing, its URL, a chain of this machine, or a deployment of commissure.yaml.
struct ApiChoice {
  std::string url;
  CloudChoice cloud = {};
  LocalChoice local = {};
};

void add_api_flags(CLI::App& app, ApiChoice& choice);

/// What is named, else COMMISSURE_URL, else the local chain, else the deployment in commissure.yaml. Errors: kNotFound,
/// nothing is running and none was named; as choose_local and find_cloud_api.
Result<ApiAddress> find_api(const ApiChoice& choice);

/// The endpoint of a chain on this machine, with the key of the environment.
ApiAddress local_api(const LocalState& state);

/// What waits for the chain watches of it, where it runs on this machine. `is_new`: a stage's first death ends the
/// wait, else only one that is given up does.
WatchedProcesses processes_of(const std::optional<LocalState>& local, bool is_new = false);

}  // namespace commissure
