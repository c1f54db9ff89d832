#include "cloud/target.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cloud/weights.h"
#include "core/version.h"
#include "deployment/cloud_file.h"
#include "deployment/cloud_limits.h"
#include "deployment/hardware.h"
#include "hub/model_header.h"
#include "plan/file_cuts.h"

namespace commissure {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// What the API calls it, and the precision that the catalogue advises for it.
Status name_model(CloudSpec& spec, const std::string& model) {
  std::string name = std::filesystem::path(model).filename().string();
  if (!is_remote_model(model)) {
    const LocalModel local = TRY(resolve_model(model, true));
    name = local.name;
    if (!local.precision.empty()) {
      for (CloudStage& stage : spec.stages) stage.environment.emplace_back("COMMISSURE_PRECISION", local.precision);
    }
  }
  if (spec.model_name.empty()) spec.model_name = name;
  return {};
}

}  // namespace

Result<CloudSpec> read_cloud_names(const CloudChoice& choice) {
  CloudFile file = TRY(read_cloud_file(choice));
  file.spec.weights.bucket = file.spec.bucket;
  file.spec.own_image = file.image.empty();
  file.spec.image = file.image;
  if (file.spec.model_name.empty()) file.spec.model_name = file.model;
  return std::move(file.spec);
}

Result<CloudSpec> read_cloud_spec(const CloudChoice& choice, const std::string& source, const Checkpoint* header) {
  CloudFile file = TRY(read_cloud_file(choice));
  CloudSpec& spec = file.spec;
  const Status fits = check_limits(spec, TRY(parse_catalogue(built_in_catalogue())));
  if (!fits) return fits.error().within(choice.file);
  const bool mounted = spec.weights.mounted, baked = spec.weights.baked;
  spec.weights = TRY(plan_weights(file.model, file.revision, spec.bucket));
  spec.weights.mounted = mounted;
  spec.weights.baked = baked;
  TRY(choose_cuts_of(spec, file.model, file.revision, header));
  TRY(name_model(spec, file.model));
  spec.own_image = file.image.empty();
  spec.image = file.image;
  if (baked && !spec.own_image) {
    return Error(
        Code::kInvalidArgument, choice.file,
        ": with `weights: baked` the image is built around the model: leave `image` out, or set weights: bucket");
  }
  if (spec.own_image) {
    const std::filesystem::path root = source.empty() ? TRY(find_source_tree()) : std::filesystem::path(source);
    spec.source_dir = root.string();
    spec.image = spec.repository() + "/commissure:" + kVersion + "-" + TRY(source_digest(root));
    if (baked) spec.image += "-" + weights_digest(spec.weights);
  }
  TRY(validate(spec));
  return std::move(spec);
}

CloudSecrets secrets_of_environment() {
  const std::string token = environment("HF_TOKEN");
  return {token.empty() ? environment("HUGGING_FACE_HUB_TOKEN") : token, environment("COMMISSURE_API_KEY")};
}

}  // namespace commissure
