#include "deploy/cloud_builds.h"

#include "core/json.h"

namespace commissure {

namespace {

/// What every build of a deployment has: its own account, sources and logs in its own bucket.
CloudCall build_call(const CloudSpec& spec, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"builds", "submit"});
  const std::string account = "projects/" + spec.project + "/serviceAccounts/" + spec.account("build");
  arguments.insert(arguments.end(), {"--project=" + spec.project, "--region=" + spec.region,
                                     "--service-account=" + account, "--gcs-log-dir=gs://" + spec.bucket + "/logs"});
  CloudCall call = gcloud(std::move(arguments));
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

}  // namespace

CloudCall image_build_call(const CloudSpec& spec) {
  return build_call(
      spec, {spec.source_dir, "--config=" + spec.source_dir + "/deploy/cloudbuild.yaml",
             "--substitutions=_IMAGE=" + spec.image, "--gcs-source-staging-dir=gs://" + spec.bucket + "/source"});
}

CloudCall weights_build_call(const CloudSpec& spec) {
  const bool hub = spec.weights.source == WeightsSource::kHub;
  std::string include;
  for (const std::string& pattern : spec.weights.include) include += (include.empty() ? "" : "\n") + pattern;
  Json variables = Json::array();
  for (const auto& [name, value] : {std::pair{"REPOSITORY", spec.weights.repository},
                                    {"REVISION", spec.weights.revision},
                                    {"INCLUDE", include},
                                    {"FILE", spec.weights.file},
                                    {"TARGET", spec.weights_folder()},
                                    {"LIST", std::string(kWeightsList)}}) {
    variables.push_back(std::string(name) + "=" + literal(value));
  }
  const char* const sdk = "gcr.io/google.com/cloudsdktool/google-cloud-cli:slim";
  Json fetch = shell_step(hub ? "python:3.12-slim" : sdk, "fetch", hub ? kHubScript : kUrlScript, variables);
  Json config = {{"options", {{"machineType", "E2_HIGHCPU_8"}, {"diskSizeGb", "500"}}}, {"timeout", "14400s"}};
  if (spec.hub_token) {
    fetch["secretEnv"] = Json::array({"HF_TOKEN"});
    const std::string version = "projects/" + spec.project + "/secrets/" + spec.hub_secret() + "/versions/latest";
    config["availableSecrets"]["secretManager"] = Json::array({{{"versionName", version}, {"env", "HF_TOKEN"}}});
  }
  config["steps"] = Json::array({std::move(fetch), shell_step(sdk, "upload", kUploadScript, variables)});
  // gcloud reads a configuration from a path only.
  CloudCall call = build_call(spec, {"--no-source", "--config=/dev/stdin"});
  call.input = dump_json(config);
  return call;
}

}  // namespace commissure
