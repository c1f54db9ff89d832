#include "cloud/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "cloud/marks.h"
#include "cloud/service_fields.h"
#include "core/sha256.h"

namespace commissure {

namespace {

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::vector<std::string> program_arguments(const CloudSpec& spec) {
  std::vector<std::string> arguments = {"stage"};
  arguments.insert(arguments.end(), spec.stage_arguments.begin(), spec.stage_arguments.end());
  // Page faults through a volume's file system are an order slower than long reads.
  if (spec.weights.mounted) arguments.emplace_back("--read-weights");
  return arguments;
}

/// One flag for a list; another separator where a value holds a comma.
std::string list_flag(const std::string& flag, const std::vector<std::string>& items) {
  const bool comma = std::ranges::any_of(items, [](const auto& item) { return item.find(',') != std::string::npos; });
  return comma ? flag + "=^|^" + joined(items, "|") : flag + "=" + joined(items, ",");
}

}  // namespace

std::vector<std::pair<std::string, std::string>> stage_environment(const CloudSpec& spec, const CloudStage& stage,
                                                                   const StageAddresses& addresses) {
  std::vector<std::pair<std::string, std::string>> variables = {{"STAGE", stage.letter}};
  for (std::size_t i = 0; i < spec.cuts.size(); ++i) {
    variables.emplace_back("K" + std::to_string(i + 1), std::to_string(spec.cuts[i]));
  }
  variables.emplace_back("MODEL_DIR", spec.model_location());
  variables.emplace_back("MODEL_NAME", spec.model_name);
  variables.emplace_back("DEVICE", stage.computes_on());
  if (!addresses.next.empty()) {
    variables.emplace_back(std::string(1, static_cast<char>(stage.letter[0] - 'a' + 'B')) + "_ENDPOINT",
                           addresses.next);
  }
  if (stage.letter != "a" && !addresses.own.empty()) {
    const std::string before(1, static_cast<char>(stage.letter[0] - 1));
    variables.emplace_back("COMMISSURE_REQUIRE_IDENTITY", addresses.own);
    variables.emplace_back("COMMISSURE_ALLOWED_CALLERS", spec.account(before));
  }
  variables.insert(variables.end(), stage.environment.begin(), stage.environment.end());
  return variables;
}

std::string release_id(const CloudSpec& spec) {
  Sha256 hash;
  for (const CloudStage& stage : spec.stages) {
    for (const auto& [name, value] : stage_environment(spec, stage, {})) hash.update(name + "=" + value + "\n");
    hash.update(release_shape(stage));
  }
  for (const WeightFile& file : spec.weights.files) hash.update(file.name + " " + file.crc32c + "\n");
  hash.update(spec.image + "\n" + joined(program_arguments(spec), " "));
  return hash.finish().substr(0, 8);
}

ServiceFacts wanted_facts(const CloudSpec& spec, const CloudStage& stage, const StageAddresses& addresses) {
  ServiceFacts facts = {
      {"arguments", joined(program_arguments(spec), " ")},
      {"bucket volume", spec.weights.mounted ? spec.weights.bucket : ""},
      {"traffic", "latest"},
      {kDeploymentLabel, spec.name},
      {"release", release_id(spec)},
  };
  for (const ServiceField& field : service_fields()) {
    if (*field.fact == '\0') continue;
    if (auto value = field.wanted(spec, stage)) facts[field.fact] = std::move(*value);
  }
  for (const auto& [name, value] : stage_environment(spec, stage, addresses)) facts["env " + name] = value;
  if (is_first_stage(spec, stage) && spec.api_key)
    facts["env COMMISSURE_API_KEY"] = "secret " + spec.key_secret() + ":latest";
  return facts;
}

std::vector<std::string> compare(const ServiceFacts& wanted, const ServiceFacts& observed) {
  std::vector<std::string> differences;
  const auto note = [&](const std::string& name, const std::string& has, const std::string& wants) {
    const auto shown = [](const std::string& value) { return value.empty() ? std::string("nothing") : value; };
    differences.push_back(name + ": " + shown(has) + " instead of " + shown(wants));
  };
  for (const auto& [name, value] : wanted) {
    const auto found = observed.find(name);
    const std::string has = found == observed.end() ? "" : found->second;
    if (has != value) note(name, has, value);
  }
  for (const auto& [name, value] : observed) {
    if (name.starts_with("env ") && !wanted.contains(name)) note(name, value, "");
    if (name == "problem") differences.push_back("not ready: " + value);
  }
  return differences;
}

namespace {

/// What a service is made of besides its environment.
std::vector<std::string> shape_flags(const CloudSpec& spec, const CloudStage& stage) {
  std::vector<std::string> flags;
  for (const ServiceField& field : service_fields()) {
    if (*field.flag != '\0') flags.push_back(field.flag + field.wanted(spec, stage).value_or(""));
    if (field.flags == nullptr) continue;
    for (std::string& flag : field.flags(spec, stage)) flags.push_back(std::move(flag));
  }
  return flags;
}

std::vector<std::string> volume_flags(const CloudSpec& spec, const ServiceFacts& observed) {
  const auto mounted = observed.find("bucket volume");
  std::vector<std::string> flags;
  if (mounted != observed.end() && !mounted->second.empty()) flags = {"--clear-volumes", "--clear-volume-mounts"};
  if (spec.weights.mounted) {
    flags.push_back("--add-volume=name=weights,type=cloud-storage,readonly=true,bucket=" + spec.weights.bucket);
    flags.emplace_back("--add-volume-mount=volume=weights,mount-path=/models");
  }
  return flags;
}

}  // namespace

ProgramCall deploy_call(const CloudSpec& spec, const CloudStage& stage, const CloudState& state,
                        const StageAddresses& addresses) {
  const auto existing = state.services.find(spec.service(stage.letter));
  const ServiceFacts observed = existing == state.services.end() ? ServiceFacts() : observed_facts(existing->second);
  std::vector<std::string> arguments = {
      "run",          "deploy", spec.service(stage.letter), "--project=" + spec.project, "--region=" + spec.region,
      "--format=json"};
  const auto add = [&](const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  add(shape_flags(spec, stage));
  if (const auto gpu = observed.find("gpu"); stage.gpu.empty() && gpu != observed.end() && gpu->second != "none") {
    arguments.emplace_back("--gpu=0");
  }
  if (const auto network = observed.find("network");
      network != observed.end() && !network->second.empty() && spec.network.empty()) {
    arguments.emplace_back("--clear-network");
  }
  add(volume_flags(spec, observed));
  std::vector<std::string> variables;
  for (const auto& [name, value] : stage_environment(spec, stage, addresses)) variables.push_back(name + "=" + value);
  arguments.push_back(list_flag("--set-env-vars", variables));
  if (is_first_stage(spec, stage) && spec.api_key) {
    arguments.push_back("--set-secrets=COMMISSURE_API_KEY=" + spec.key_secret() + ":latest");
  } else if (observed.contains("env COMMISSURE_API_KEY")) {
    arguments.emplace_back("--clear-secrets");
  }
  arguments.push_back(list_flag("--args", program_arguments(spec)));
  std::vector<std::string> labels = {deployment_mark(spec), "commissure-stage=" + stage.letter,
                                     "commissure-release=" + release_id(spec)};
  for (const auto& [key, value] : spec.labels) labels.push_back(key + "=" + value);
  arguments.push_back(list_flag("--labels", labels));
  ProgramCall call = gcloud(std::move(arguments));
  call.limit = std::chrono::minutes(40);
  return call;
}

}  // namespace commissure
