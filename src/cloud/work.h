#pragma once

#include <functional>
#include <string>

#include "client/client.h"
#include "cloud/console.h"
#include "cloud/executor.h"
#include "cloud/target.h"
#include "core/result.h"

namespace commissure {

/// Flags that all commands which change a deployment share.
struct CloudWorkOptions {
  CloudChoice choice;
  std::string source;  ///< root of the source tree; "" to find it
  bool dry_run = false;
  bool local_image = false;  ///< built on this machine instead of Cloud Build
  bool as_json = false;
  bool wake = true;  ///< `up` loads the stages and asks a first question
};

/// Which parts of `up` a command does; the foundation is always laid first.
struct CloudParts {
  bool image = false, weights = false, services = false;
  bool whole() const { return image && weights && services; }
};

/// `up`, `build`, `upload` and `deploy`. Errors: as explain_failure, and those of the first answer.
Result<int> do_cloud_work(const CloudWorkOptions& options, const CloudParts& parts);

/// Gives `work` an executor that knows nothing yet, with a console. Errors: those of the file, and of the work.
Result<int> with_cloud(const CloudWorkOptions& options,
                       const std::function<Result<int>(CloudExecutor&, CloudConsole&)>& work);

/// The endpoint of a deployment, as the cloud tells it, with an identity token where access goes by IAM.
/// Errors: kNotFound, it is not deployed; as explain_failure.
Result<ApiAddress> find_cloud_api(const CloudChoice& choice);

/// A runner that shows gcloud's progress on the console.
ProgramRunner console_runner(CloudConsole& console);

}  // namespace commissure
