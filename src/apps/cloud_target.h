#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "core/result.h"
#include "deploy/cloud_file.h"
#include "deploy/cloud_spec.h"
#include "deploy/cloud_steps.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Which deployment a command is about.
struct CloudChoice {
  std::string file = "commissure.yaml";
  std::string deployment;  ///< its name in a file that holds several
};

void add_cloud_flags(CLI::App& app, CloudChoice& choice);

/// Whether the file that a command would read is there.
bool has_deployment_file(const CloudChoice& choice);

/// The file as it stands. Errors: kNotFound, it cannot be read; as parse_cloud_file.
Result<CloudFile> read_cloud_file(const CloudChoice& choice);

/// Cuts as written, or those that level the stages' bytes. Of a model on the hub, behind a URL or in a bucket only the
/// header is read; `header` where that has been done. Errors: as Checkpoint::open, with what to do instead: write the
/// cuts down.
Status choose_cuts_of(CloudSpec& spec, const std::string& model, const std::string& revision,
                      const Checkpoint* header = nullptr);

/// Names and access only: enough to find, watch and remove a deployment. Reads no model. Errors: as the file's reader.
Result<CloudSpec> read_cloud_names(const CloudChoice& choice);

/// All of it: weights summed, cuts planned, the image's tag taken from the source tree `source` ("" to find it).
/// `header` as above.
Result<CloudSpec> read_cloud_spec(const CloudChoice& choice, const std::string& source,
                                  const Checkpoint* header = nullptr);

/// HF_TOKEN (or HUGGING_FACE_HUB_TOKEN) and COMMISSURE_API_KEY.
CloudSecrets secrets_of_environment();

}  // namespace commissure
