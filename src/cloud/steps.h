#pragma once

#include <string>
#include <vector>

#include "cloud/secrets.h"
#include "cloud/state.h"
#include "deployment/cloud_spec.h"
#include "terminal/gcloud.h"

namespace commissure {

/// One part of a deployment, how the cloud differs from it, and the calls to mend that. All functions here are pure:
/// one state gives the same calls, and a state in which everything is done gives none.
struct CloudStep {
  std::string name;                      ///< "bucket"
  std::string why;                       ///< what it is for, in a few words
  std::string role;                      ///< the least role on the project that its calls need
  std::vector<std::string> differences;  ///< empty: nothing to do
  std::vector<ProgramCall> calls;
  std::vector<std::string> warnings = {};
  std::string missing = {};  ///< an input that only the person can give; the step cannot be done
  std::string yields = {};   ///< the service whose body the first call prints
};

CloudStep apis_step(const CloudSpec& spec, const CloudState& state);

/// Repository, bucket, accounts, secrets, access, in this order.
std::vector<CloudStep> foundation_steps(const CloudSpec& spec, const CloudState& state, const CloudSecrets& secrets);

/// The condition under which a stage's account may read objects: those of the model's folder.
std::string weights_expression(const CloudSpec& spec);

CloudStep image_step(const CloudSpec& spec, const CloudState& state);
CloudStep weights_step(const CloudSpec& spec, const CloudState& state);

/// Who may call a stage's service and should not, as members of its policy: of the first one, everybody where IAM is to
/// guard it; of the others, all but the stage before.
std::vector<std::string> strangers(const CloudSpec& spec, const CloudStage& stage, const CloudState& state);

/// Stage `index` and who may call it. Its successor's address is taken from the state, so deploy the last stage first.
CloudStep deploy_step(const CloudSpec& spec, std::size_t index, const CloudState& state);

/// The job that wakes the chain by the schedule, and the right of its account to call stage A; takes a job away that no
/// schedule asks for. After stage A is deployed.
CloudStep schedule_step(const CloudSpec& spec, const CloudState& state);

/// The service of stage `index` alone, without who may call it.
CloudStep service_step(const CloudSpec& spec, std::size_t index, const CloudState& state);

/// Base URLs that callers' tokens may be made out to, with commas: the promised one, and another where callers use
/// that.
std::string own_addresses(const CloudSpec& spec, std::size_t index, const CloudState& state);

/// Steps that take the services away, first stage first, and with `all` weights, images, secrets and accounts: all that
/// carries the deployment's mark. What has one of its names and no mark stays, with a warning.
std::vector<CloudStep> removal_steps(const CloudSpec& spec, const CloudState& state, bool all);

/// Steps that take away what carries the deployment's mark and the file no longer asks for: services and accounts of
/// stages that it lacks or that are in another region, secrets, buckets, a repository, and rights on the buckets.
std::vector<CloudStep> prune_steps(const CloudSpec& spec, const CloudState& state);

}  // namespace commissure
