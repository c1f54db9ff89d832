#include "apps/cloud_target.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/cloud_weights.h"
#include "apps/model_header.h"
#include "apps/split_plan.h"
#include "apps/stage_settings.h"
#include "deploy/cloud_file.h"
#include "deploy/cloud_limits.h"
#include "deploy/hardware.h"

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

Result<std::vector<int>> level_cuts(const Checkpoint& header, int n_stages) {
  return choose_cuts(header, TRY(read_decoder_spec(header)), n_stages);
}

Result<std::vector<int>> level_cuts(const std::string& model, const std::string& revision, int n_stages) {
  return level_cuts(*TRY(open_header(model, revision, true)), n_stages);
}

}  // namespace

Result<CloudFile> read_cloud_file(const CloudChoice& choice) {
  std::ifstream file(choice.file);
  if (!file) return Error(Code::kNotFound, "cannot read ", choice.file);
  std::stringstream text;
  text << file.rdbuf();
  auto parsed = parse_cloud_file(text.str(), choice.deployment, process_environment);
  if (!parsed) return parsed.error().within(choice.file);
  return parsed;
}

Status choose_cuts_of(CloudSpec& spec, const std::string& model, const std::string& revision,
                      const Checkpoint* header) {
  if (!spec.cuts.empty() || spec.stages.size() == 1) return {};
  const int n_stages = static_cast<int>(spec.stages.size());
  auto cuts = header != nullptr ? level_cuts(*header, n_stages) : level_cuts(model, revision, n_stages);
  if (!cuts && is_remote_model(model)) {
    return Error(cuts.error().code(), "the header of ", model, " cannot be read (", cuts.error().message(),
                 "): mend that, or say where to cut it, e.g. cuts: [20, 44]");
  }
  spec.cuts = TRY(std::move(cuts));
  return {};
}

void add_cloud_flags(CLI::App& app, CloudChoice& choice) {
  app.add_option("--file,--config", choice.file, "the deployment's file")->capture_default_str();
  app.add_option("--deployment", choice.deployment, "its name, where the file holds several");
}

bool has_deployment_file(const CloudChoice& choice) { return std::filesystem::exists(choice.file); }

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
    spec.image = spec.repository() + "/commissure:" + COMMISSURE_VERSION + "-" + TRY(source_digest(root));
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
