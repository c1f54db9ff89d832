#pragma once

#include <string>
#include <vector>

#include "cloud/releases.h"
#include "cloud/report.h"
#include "cloud/state.h"
#include "cloud/steps.h"
#include "deployment/cloud_spec.h"
#include "terminal/gcloud.h"

namespace commissure {

/// Brings a deployment to what its specification says and takes it away again. Everything is read from the cloud, so a
/// run that was interrupted anywhere is continued by the next one. Threading: one thread at a time; reads are spread
/// over a few threads inside.
class CloudExecutor {
 public:
  /// All three outlive the executor.
  CloudExecutor(const CloudSpec& spec, const ProgramRunner& run, const CloudReport& report)
      : spec_(spec), run_(run), report_(report) {}

  /// Reads all that carries the deployment's mark or one of its names, and who may call its services. With `if_allowed`
  /// only the services have to be told; what else is refused is a note. Errors: as explain_failure.
  Status read_marked(bool if_allowed);
  /// Reads the services alone: for those who only look.
  Status read_services();
  /// What the region's GPU quotas allow, and whether that holds all stages; reads nothing else. Errors: as
  /// check_gpu_quota and explain_failure; kUnavailable, the API that tells is not enabled yet.
  Status check_quota();
  /// Makes APIs, repository, bucket, accounts, secrets and access right; reads what is there. Before the next four.
  /// `adopt`: what has the names and not the mark becomes this deployment's. Errors: also as check_owned.
  Status lay_foundation(const CloudSecrets& secrets, bool adopt = false);
  Status build_image();
  Status bring_weights();
  /// Deploys the services, last stage first, and sets who may call them.
  Status deploy();
  /// Takes away what the file no longer asks for or, unless `really`, tells of it.
  Status prune(bool really);
  /// Takes away the services and, with `all`, everything else.
  Status remove(bool all);
  /// Call both after `read_services`. Errors: as scale_step, rollback_step and check_owned.
  Status scale(const ScaleWish& wish);
  Status roll_back();

  const CloudState& state() const { return state_; }
  /// Steps that changed something.
  int n_changes() const { return n_changes_; }

 private:
  Status ask(const std::vector<CloudRead>& reads);
  Status perform(const CloudStep& step);
  Result<ProgramCall> with_input(const CloudStep& step, const ProgramCall& call);
  Status fail(const CloudStep& step, std::size_t index, const ProgramAnswer& answer);
  Status check_possible(const std::vector<CloudStep>& steps) const;

  const CloudSpec& spec_;
  const ProgramRunner& run_;
  const CloudReport& report_;
  CloudState state_;
  int n_changes_ = 0;
};

/// Every call of a first `up`, in order, for `--dry-run`; asks nothing.
std::vector<CloudStep> all_steps(const CloudSpec& spec, const CloudSecrets& secrets);

}  // namespace commissure
