#include "apps/cloud_target.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/cloud_weights.h"
#include "apps/split_plan.h"
#include "core/json.h"

namespace commissure {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<Json> read_file(const CloudChoice& choice) {
  std::ifstream file(choice.file);
  std::stringstream text;
  text << file.rdbuf();
  return parse_json(text.str());
}

}  // namespace

void add_cloud_flags(CLI::App& app, CloudChoice& choice) {
  app.add_option("--file", choice.file, "the deployment's file")->capture_default_str();
  app.add_option("--deployment", choice.deployment, "its name, where the file holds several");
}

bool has_deployment_file(const CloudChoice& choice) { return std::filesystem::exists(choice.file); }

Result<CloudSpec> read_cloud_names(const CloudChoice& choice) {
  const Json file = TRY(read_file(choice));
  CloudSpec spec;
  spec.name = file.value("name", "commissure");
  spec.project = file.value("project", "");
  spec.region = file.value("region", "");
  spec.bucket = spec.project + "-" + spec.name;
  spec.api_key = file.value("access", "iam") == "key" || file.value("access", "iam") == "both";
  spec.access = file.value("access", "iam") == "public" || file.value("access", "iam") == "key" ? CloudAccess::kPublic : CloudAccess::kIam;
  for (int i = 0; i < file.value("stages", 3); ++i) {
    CloudStage stage;
    stage.letter = std::string(1, static_cast<char>('a' + i));
    stage.cpu = file.value("cpu", "2");
    stage.memory = file.value("memory", "2Gi");
    spec.stages.push_back(stage);
  }
  spec.image = file.value("image", "");
  spec.own_image = spec.image.empty();
  spec.model_name = file.value("model_name", "");
  spec.weights.bucket = spec.bucket;
  spec.weights.mounted = file.value("weights", "bucket") == "mounted";
  return spec;
}

Result<CloudSpec> read_cloud_spec(const CloudChoice& choice, const std::string& source) {
  const Json file = TRY(read_file(choice));
  CloudSpec spec = TRY(read_cloud_names(choice));
  const std::string model = file.value("model", "");
  const bool mounted = spec.weights.mounted;
  spec.weights = TRY(plan_weights(model, "", spec.bucket));
  spec.weights.mounted = mounted;
  const LocalModel local = TRY(resolve_model(model, true));
  spec.model_name = local.name;
  const auto checkpoint = TRY(Checkpoint::open(local.location));
  const DecoderSpec decoder = TRY(read_decoder_spec(*checkpoint));
  spec.cuts = TRY(choose_cuts(*checkpoint, decoder, static_cast<int>(spec.stages.size())));
  if (spec.own_image) {
    const std::filesystem::path root = source.empty() ? TRY(find_source_tree()) : std::filesystem::path(source);
    spec.source_dir = root.string();
    spec.image = spec.repository() + "/commissure:" + COMMISSURE_VERSION + "-" + TRY(source_digest(root));
  }
  TRY(validate(spec));
  return spec;
}

CloudSecrets secrets_of_environment() {
  const std::string token = environment("HF_TOKEN");
  return {token.empty() ? environment("HUGGING_FACE_HUB_TOKEN") : token, environment("COMMISSURE_API_KEY")};
}

}  // namespace commissure
