#include "cloud/builds.h"

#include "core/json.h"

namespace commissure {

namespace {

/// What every build of a deployment has: its own account, sources and logs in its own bucket.
ProgramCall build_call(const CloudSpec& spec, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"builds", "submit"});
  const std::string account = "projects/" + spec.project + "/serviceAccounts/" + spec.account("build");
  arguments.insert(arguments.end(), {"--project=" + spec.project, "--region=" + spec.region,
                                     "--service-account=" + account, "--gcs-log-dir=gs://" + spec.bucket + "/logs"});
  ProgramCall call = gcloud(std::move(arguments));
  call.limit = std::chrono::hours(4);
  return call;
}

/// Cloud Build replaces $NAME in steps; a shell's own is written $$NAME. Values travel as variables of the steps, so
/// that no name from a configuration becomes shell text.
constexpr const char* kHubScript =
    "set -e\n"
    "pip install --quiet --root-user-action=ignore 'huggingface_hub[hf_xet]>=0.34'\n"
    "set --\n"
    "while read -r pattern; do [ -z \"$$pattern\" ] || set -- \"$$@\" --include \"$$pattern\"; done <<END\n"
    "$$INCLUDE\n"
    "END\n"
    "hf download \"$$REPOSITORY\" --revision \"$$REVISION\" --local-dir /workspace/model \"$$@\"\n"
    "rm -rf /workspace/model/.cache\n";

constexpr const char* kUrlScript =
    "set -e\n"
    "mkdir -p /workspace/model\n"
    "curl --fail --location --retry 8 --retry-all-errors --continue-at - --output \"/workspace/model/$$FILE\" "
    "\"$$REPOSITORY\"\n";

constexpr const char* kUploadScript =
    "set -e\n"
    "gcloud storage rsync /workspace/model \"$$TARGET\" --recursive --checksums-only\n"
    "files=$$(find /workspace/model -type f | wc -l)\n"
    "bytes=$$(find /workspace/model -type f -printf '%s\\n' | awk '{ n += $$1 } END { printf \"%d\", n }')\n"
    "printf '{\"source\":\"%s\",\"revision\":\"%s\"}\\n' \"$$REPOSITORY\" \"$$REVISION\" >/workspace/list.json\n"
    "gcloud storage cp /workspace/list.json \"$$TARGET/$$LIST\" --custom-metadata=files=$$files,bytes=$$bytes\n";

constexpr const char* kBucketScript =
    "set -e\n"
    "mkdir -p /workspace/model\n"
    "gcloud storage cp --recursive \"$$TARGET/*\" /workspace/model/\n";

/// The files keep their owner: root's, which the program may read and not change.
constexpr const char* kBakeScript =
    "set -e\n"
    "mkdir /workspace/bake\n"
    "mv /workspace/model /workspace/bake/model\n"
    "chmod -R a+rX /workspace/bake/model\n"
    "printf 'FROM program\\nCOPY model /model\\n' | docker build --file - --tag \"$$IMAGE\" /workspace/bake\n";

constexpr const char* kSdk = "gcr.io/google.com/cloudsdktool/google-cloud-cli:slim";
constexpr const char* kDocker = "gcr.io/cloud-builders/docker";

/// Cloud Build replaces $NAME in values too.
std::string literal(const std::string& value) {
  std::string text;
  for (const char c : value) text += c == '$' ? "$$" : std::string(1, c);
  return text;
}

Json shell_step(const char* image, const char* id, const char* script, const Json& variables) {
  return {
      {"id", id}, {"name", image}, {"entrypoint", "bash"}, {"args", Json::array({"-c", script})}, {"env", variables}};
}

/// What the scripts are told.
Json script_variables(const CloudSpec& spec) {
  std::string include;
  for (const std::string& pattern : spec.weights.include) include += (include.empty() ? "" : "\n") + pattern;
  Json variables = Json::array();
  for (const auto& [name, value] : {std::pair{"REPOSITORY", spec.weights.repository},
                                    {"REVISION", spec.weights.revision},
                                    {"INCLUDE", include},
                                    {"FILE", spec.weights.file},
                                    {"TARGET", spec.weights_folder()},
                                    {"LIST", std::string(kWeightsList)},
                                    {"IMAGE", spec.image}}) {
    variables.push_back(std::string(name) + "=" + literal(value));
  }
  return variables;
}

/// Brings the model to /workspace/model. A token enters the environment of this step alone.
Json fetch_step(const CloudSpec& spec, Json& config) {
  const Json variables = script_variables(spec);
  switch (spec.weights.source) {
    case WeightsSource::kHub: break;
    case WeightsSource::kUrl: return shell_step(kSdk, "fetch", kUrlScript, variables);
    case WeightsSource::kFiles:
    case WeightsSource::kBucket: return shell_step(kSdk, "fetch", kBucketScript, variables);
  }
  Json fetch = shell_step("python:3.12-slim", "fetch", kHubScript, variables);
  if (!spec.hub_token) return fetch;
  fetch["secretEnv"] = Json::array({"HF_TOKEN"});
  const std::string version = "projects/" + spec.project + "/secrets/" + spec.hub_secret() + "/versions/latest";
  config["availableSecrets"]["secretManager"] = Json::array({{{"versionName", version}, {"env", "HF_TOKEN"}}});
  return fetch;
}

Json large_build() {
  return {{"options", {{"machineType", "E2_HIGHCPU_8"}, {"diskSizeGb", "500"}}}, {"timeout", "14400s"}};
}

/// gcloud reads a configuration from a path only.
ProgramCall configured_call(const CloudSpec& spec, std::vector<std::string> arguments, const Json& config) {
  arguments.emplace_back("--config=/dev/stdin");
  ProgramCall call = build_call(spec, std::move(arguments));
  call.input = dump_json(config);
  return call;
}

/// The program's image, the model, and both as one image; the model is never part of the program's context.
ProgramCall baked_build_call(const CloudSpec& spec, std::vector<std::string> arguments) {
  Json config = large_build();
  const Json program = {
      {"id", "build"}, {"name", kDocker}, {"args", {"build", "--file", "deploy/Dockerfile", "--tag", "program", "."}}};
  Json fetch = fetch_step(spec, config);
  config["steps"] =
      Json::array({program, std::move(fetch), shell_step(kDocker, "bake", kBakeScript, script_variables(spec))});
  config["images"] = Json::array({literal(spec.image)});
  ProgramCall call = configured_call(spec, std::move(arguments), config);
  call.n_bytes = spec.weights.n_bytes;
  return call;
}

}  // namespace

ProgramCall image_build_call(const CloudSpec& spec) {
  const std::string staging = "--gcs-source-staging-dir=gs://" + spec.bucket + "/source";
  if (spec.weights.baked) return baked_build_call(spec, {spec.source_dir, staging});
  return build_call(spec, {spec.source_dir, "--config=" + spec.source_dir + "/deploy/cloudbuild.yaml",
                           "--substitutions=_IMAGE=" + spec.image, staging});
}

std::vector<ProgramCall> local_image_calls(const CloudSpec& spec) {
  const std::string& tool = spec.image_builder;
  // Cloud Run starts linux/amd64 only, and the image is named before it is pushed.
  ProgramCall build = {.arguments = {tool, "build", "--platform=linux/amd64",
                                     "--file=" + spec.source_dir + "/deploy/Dockerfile", "--tag=" + spec.image,
                                     spec.source_dir}};
  build.limit = std::chrono::hours(4);
  ProgramCall login = {.arguments = {tool, "login", "--username=oauth2accesstoken", "--password-stdin", spec.host()}};
  login.input_of = {"gcloud", "auth", "print-access-token", "--quiet"};
  ProgramCall push = {.arguments = {tool, "push", spec.image}};
  push.limit = std::chrono::hours(1);
  ProgramCall logout = {.arguments = {tool, "logout", spec.host()}};
  logout.logs_out = true;
  return {build, login, push, logout};
}

ProgramCall weights_build_call(const CloudSpec& spec) {
  Json config = large_build();
  Json fetch = fetch_step(spec, config);
  config["steps"] = Json::array({std::move(fetch), shell_step(kSdk, "upload", kUploadScript, script_variables(spec))});
  ProgramCall call = configured_call(spec, {"--no-source"}, config);
  call.n_bytes = spec.weights.n_bytes;
  return call;
}

}  // namespace commissure
