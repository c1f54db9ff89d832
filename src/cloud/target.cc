#include "cloud/target.h"

#include <filesystem>

#include "cloud/image_tag.h"
#include "core/version.h"
#include "deployment/cloud_limits.h"
#include "deployment/hardware.h"

namespace commissure {

namespace {

/// What the file leaves to the model; how stages read the weights is the file's.
void put_in(const DeployedModel& model, CloudSpec& spec) {
  const bool mounted = spec.weights.mounted, baked = spec.weights.baked;
  spec.weights = model.weights;
  spec.weights.mounted = mounted;
  spec.weights.baked = baked;
  spec.cuts = model.cuts;
  if (spec.model_name.empty()) spec.model_name = model.name;
  if (model.precision.empty()) return;
  for (CloudStage& stage : spec.stages) stage.environment.emplace_back("COMMISSURE_PRECISION", model.precision);
}

/// One of the person's own, or the tag of what `up` builds.
Status name_image(const CloudFile& file, const std::string& source, CloudSpec& spec) {
  spec.own_image = file.image.empty();
  spec.image = file.image;
  if (spec.weights.baked && !spec.own_image) {
    return Error(
        Code::kInvalidArgument, file.path,
        ": with `weights: baked` the image is built around the model: leave `image` out, or set weights: bucket");
  }
  if (!spec.own_image) return {};
  const std::filesystem::path root = source.empty() ? TRY(find_source_tree()) : std::filesystem::path(source);
  spec.source_dir = root.string();
  spec.image = spec.repository() + "/commissure:" + kVersion + "-" + TRY(source_digest(root));
  if (spec.weights.baked) spec.image.append("-").append(weights_digest(spec.weights));
  return {};
}

}  // namespace

CloudSpec names_of(const CloudFile& file) {
  CloudSpec spec = file.spec;
  spec.weights.bucket = spec.bucket;
  spec.own_image = file.image.empty();
  spec.image = file.image;
  if (spec.model_name.empty()) spec.model_name = file.model;
  return spec;
}

Result<CloudTarget> plan_target(const CloudFile& file, const std::string& source, const ModelFinder& find_model,
                                bool priced) {
  CloudSpec spec = file.spec;
  const Status fits = check_limits(spec, TRY(parse_catalogue(built_in_catalogue())));
  if (!fits) return fits.error().within(file.path);
  DeployedModel model = TRY(find_model(file, priced));
  put_in(model, spec);
  TRY(name_image(file, source, spec));
  TRY(validate(spec));
  return CloudTarget{std::move(spec), std::move(model.price)};
}

}  // namespace commissure
