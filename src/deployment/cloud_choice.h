#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_file.h"

namespace commissure {

/// Which deployment a command is about.
struct CloudChoice {
  std::string file = "commissure.yaml";
  std::string deployment;  ///< its name in a file that holds several
  bool is_named = false;   ///< a flag named the file or the deployment
};

/// Whether the file that a command would read is there.
bool has_deployment_file(const CloudChoice& choice);

/// The file as it stands; `variables` are put into its values. Errors: kNotFound, it cannot be read; as
/// parse_cloud_file.
Result<CloudFile> read_cloud_file(const CloudChoice& choice, const Environment& variables);

}  // namespace commissure
