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

/// Adds --file and --deployment, which name a deployment on Google Cloud.
void add_cloud_flags(CLI::App& app, CloudChoice& choice);

/// Adds the flags of all commands that change a deployment: --file, --deployment, --source, --dry-run and --json.
void add_work_flags(CLI::App& app, CloudWorkOptions& options);

/// Which chain on this machine a command line names, if any.
struct LocalChoice {
  bool is_local = false;  ///< --local: a chain of this machine is meant, not the deployment of commissure.yaml
  bool is_cloud = false;  ///< --cloud: the deployment is meant
  std::string name = {};  ///< --name; "": the only chain there is
};

/// Adds --local, --cloud and --name.
void add_local_flags(CLI::App& app, LocalChoice& choice);

/// The chain of this machine that a command is about; empty when it is about a deployment, or when neither is there.
/// Where commissure.yaml alone decides, a line on standard error says so. Errors: kFailedPrecondition, the command line
/// does not say whether a chain or a deployment is meant, or which of several chains; kNotFound, no chain has the name
/// that was given; as read_local_state.
Result<std::optional<LocalState>> choose_local(const LocalChoice& local, const CloudChoice& cloud);

/// Which endpoint a command line names: none, a URL, a chain of this machine, or a deployment of commissure.yaml.
struct ApiChoice {
  std::string url;  ///< --url; "": not given
  CloudChoice cloud = {};
  LocalChoice local = {};
};

/// Adds --url and the flags of add_local_flags and add_cloud_flags.
void add_api_flags(CLI::App& app, ApiChoice& choice);

/// The endpoint that the command line names, else COMMISSURE_URL's, else that of the chain on this machine, else that
/// of the deployment in commissure.yaml; with the keys and tokens of the environment. Errors: kNotFound, nothing is
/// named and nothing runs; as choose_local and find_cloud_api.
Result<ApiAddress> find_api(const ApiChoice& choice);

/// The endpoint of a chain on this machine, with the key of COMMISSURE_API_KEY.
ApiAddress local_api(const LocalState& state);

/// The stage processes to watch while something waits for a chain; none where `local` is empty. `is_new`: the first
/// death of a stage ends the wait; otherwise only a stage that nobody starts again does.
WatchedProcesses processes_of(const std::optional<LocalState>& local, bool is_new = false);

}  // namespace commissure
