#pragma once

#include <functional>
#include <string>

#include "cloud/console.h"
#include "cloud/executor.h"
#include "cloud/outside.h"
#include "core/result.h"
#include "deployment/cloud_choice.h"

namespace commissure {

/// Flags that all commands which change a deployment share.
struct CloudWorkOptions {
  CloudChoice choice;
  std::string source;  ///< root of the source tree; "" to find it
  bool dry_run = false;
  bool local_image = false;  ///< built on this machine instead of Cloud Build
  bool as_json = false;
  bool adopt = false;  ///< takes what has the deployment's names and was not made by it
  bool prune = false;  ///< removes what the file no longer asks for
  bool wake = true;    ///< `up` loads the stages and asks a first question
};

/// Which parts of `up` a command does; the foundation is always laid first.
struct CloudParts {
  bool image = false, weights = false, services = false;
  bool whole() const { return image && weights && services; }
};

/// `up`, `build`, `upload` and `deploy`: the file, its target, then the executor's steps. Errors: as explain_failure,
/// and those of the first answer.
Result<int> do_cloud_work(const CloudWorkOptions& options, const CloudParts& parts, const CloudOutside& outside);

/// Gives `work` an executor that knows nothing yet, with a console. Errors: those of the file, and of the work.
Result<int> with_cloud(const CloudWorkOptions& options, const CloudOutside& outside,
                       const std::function<Result<int>(CloudExecutor&, CloudConsole&)>& work);

}  // namespace commissure
