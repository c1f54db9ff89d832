#pragma once

#include <map>
#include <string>
#include <vector>

#include "cloud/state.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// A service's settings by name; wanted and observed settings are compared line by line.
using ServiceFacts = std::map<std::string, std::string>;

/// Base URLs that a stage's service must know.
struct StageAddresses {
  std::string next;      ///< of the stage behind it; "" for the last one
  std::string own = {};  ///< of itself, comma-separated where it has several; "" while none is known
};

/// The settings that the stage's service must have.
ServiceFacts wanted_facts(const CloudSpec& spec, const CloudStage& stage, const StageAddresses& addresses);

/// The settings that the service has, read from the Knative body that `gcloud run services list` prints.
ServiceFacts observed_facts(const Json& service);

/// "memory: 8Gi instead of 16Gi", a line each; empty when the service is as wanted.
std::vector<std::string> compare(const ServiceFacts& wanted, const ServiceFacts& observed);

/// `gcloud run deploy` of one stage. Flags that take something away are given only where there is something.
ProgramCall deploy_call(const CloudSpec& spec, const CloudStage& stage, const CloudState& state,
                        const StageAddresses& addresses);

/// Eight hex digits over all that the stages of one release share: what `rollback` goes back to.
std::string release_id(const CloudSpec& spec);

/// The environment of the stage contract, in the order in which it is passed. Stages after the first check in their own
/// code, behind the platform's check, that only the stage before them calls.
std::vector<std::pair<std::string, std::string>> stage_environment(const CloudSpec& spec, const CloudStage& stage,
                                                                   const StageAddresses& addresses);

}  // namespace commissure
