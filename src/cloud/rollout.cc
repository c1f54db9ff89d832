// Image, weights and services: what a new version changes; and the way back.
#include <fmt/format.h>

#include <algorithm>

#include "cloud/builds.h"
#include "cloud/grants.h"
#include "cloud/service.h"
#include "cloud/steps.h"

namespace commissure {

namespace {

std::string tag_of(const std::string& image) { return image.substr(image.rfind(':') + 1); }

ProgramCall service_call(const CloudSpec& spec, std::vector<std::string> arguments) {
  arguments.push_back("--region=" + spec.region);
  arguments.push_back("--project=" + spec.project);
  return gcloud(std::move(arguments));
}

std::string problem_of(const CloudObject* object, const WeightFile& file) {
  if (object == nullptr) return "absent";
  if (object->n_bytes != file.n_bytes) return fmt::format("{} bytes instead of {}", object->n_bytes, file.n_bytes);
  return object->crc32c == file.crc32c ? "" : "another checksum";
}

/// One call per file: an interrupted upload goes on where it was.
void want_files(const CloudSpec& spec, const CloudState& state, CloudStep& step) {
  for (const WeightFile& file : spec.weights.files) {
    const auto found = state.objects.find(spec.weights.prefix + "/" + file.name);
    const std::string problem = problem_of(found == state.objects.end() ? nullptr : &found->second, file);
    if (problem.empty()) continue;
    step.differences.push_back(file.name + ": " + problem);
    ProgramCall call =
        gcloud({"storage", "cp", file.path, spec.weights_folder() + "/" + file.name, "--project=" + spec.project});
    call.limit = std::chrono::hours(12);
    call.n_bytes = file.n_bytes;
    step.calls.push_back(std::move(call));
  }
}

/// What Cloud Build left: the list that it writes last says how many objects and bytes there must be.
std::string problem_of_fetch(const CloudSpec& spec, const CloudState& state) {
  const std::string prefix = spec.weights.prefix + "/";
  const auto list = state.objects.find(prefix + kWeightsList);
  if (list == state.objects.end()) return state.objects.empty() ? "absent" : "fetched in part";
  std::uint64_t n_files = 0, n_bytes = 0;
  for (const auto& [name, object] : state.objects) {
    if (name == list->first) continue;
    ++n_files;
    n_bytes += object.n_bytes;
  }
  const auto expected = [&](const char* key) {
    const auto found = list->second.metadata.find(key);
    return found == list->second.metadata.end() ? std::string() : found->second;
  };
  if (expected("files") == std::to_string(n_files) && expected("bytes") == std::to_string(n_bytes)) return "";
  return fmt::format("{} objects with {} bytes instead of {} with {}", n_files, n_bytes, expected("files"),
                     expected("bytes"));
}

}  // namespace

CloudStep image_step(const CloudSpec& spec, const CloudState& state) {
  const bool here = !spec.image_builder.empty();
  const std::string what = spec.weights.baked ? "one for all stages, with the model" : "one for all stages";
  CloudStep step{"image",
                 what + ", built by " + (here ? spec.image_builder + " on this machine" : "Cloud Build"),
                 here ? "roles/artifactregistry.writer" : "roles/cloudbuild.builds.editor",
                 {},
                 {}};
  if (!spec.own_image || state.tags.contains(tag_of(spec.image))) return step;
  step.differences.push_back("image " + tag_of(spec.image) + ": absent");
  step.calls = here ? local_image_calls(spec) : std::vector{image_build_call(spec)};
  return step;
}

CloudStep weights_step(const CloudSpec& spec, const CloudState& state) {
  CloudStep step{"weights", "in the bucket, checked by CRC-32C", "roles/storage.admin", {}, {}};
  const bool from_afar = spec.weights.source == WeightsSource::kHub || spec.weights.source == WeightsSource::kUrl;
  if (spec.weights.baked && from_afar) return step;  // the image's build fetches them
  switch (spec.weights.source) {
    case WeightsSource::kFiles: want_files(spec, state, step); break;
    case WeightsSource::kHub:
    case WeightsSource::kUrl:
      if (const std::string problem = problem_of_fetch(spec, state); !problem.empty()) {
        step.role = "roles/cloudbuild.builds.editor";
        step.differences.push_back(spec.weights_folder() + ": " + problem);
        step.calls.push_back(weights_build_call(spec));
      }
      break;
    case WeightsSource::kBucket:
      if (state.objects.empty()) {
        step.differences.push_back(spec.weights_folder() + ": empty or not readable");
        step.missing = "put the model's files into " + spec.weights_folder() + " or name another place in `model`";
      }
      break;
  }
  return step;
}

namespace {

std::vector<std::string> invokers_of(const std::string& service, const CloudState& state) {
  const auto policy = state.service_policies.find(service);
  return policy == state.service_policies.end() ? std::vector<std::string>() : invokers(policy->second);
}

/// What the service is, against what it must be; the calls that mend it.
void want_service(const CloudSpec& spec, const CloudStage& stage, const CloudState& state,
                  const StageAddresses& addresses, CloudStep& step) {
  const std::string service = spec.service(stage.letter);
  const auto found = state.services.find(service);
  if (found == state.services.end()) {
    step.differences.push_back("service " + service + ": absent");
    step.calls.push_back(deploy_call(spec, stage, state, addresses));
    return;
  }
  const ServiceFacts observed = observed_facts(found->second);
  step.differences = compare(wanted_facts(spec, stage, addresses), observed);
  if (stage == spec.stages.front() && spec.access == CloudCallers::kPublic) {  // gcloud opens it while it deploys
    const std::vector<std::string> callers = invokers_of(service, state);
    if (std::ranges::find(callers, "allUsers") == callers.end()) step.differences.emplace_back("access: not public");
  }
  if (step.differences.empty()) return;
  step.calls.push_back(deploy_call(spec, stage, state, addresses));
  const auto traffic = observed.find("traffic");
  if (traffic != observed.end() && traffic->second != "latest") {
    step.calls.push_back(service_call(spec, {"run", "services", "update-traffic", service, "--to-latest"}));
  }
}

/// The stage before may call this one.
void want_caller(const CloudSpec& spec, const CloudStage& stage, const CloudStage& caller, const CloudState& state,
                 CloudStep& step) {
  const std::string service = spec.service(stage.letter);
  const std::string member = "serviceAccount:" + spec.account(caller.letter);
  const auto policy = state.service_policies.find(service);
  if (policy != state.service_policies.end() && has_role(policy->second, "roles/run.invoker", member)) return;
  step.differences.push_back(spec.account_id(caller.letter) + " on " + service + ": roles/run.invoker absent");
  step.calls.push_back(service_call(
      spec, {"run", "services", "add-iam-policy-binding", service, "--member=" + member, "--role=roles/run.invoker"}));
}

/// Nobody else may: what makes a service public is taken away, others are told of.
void want_no_stranger(const CloudSpec& spec, const CloudStage& stage, const CloudState& state, bool deploys,
                      CloudStep& step) {
  const std::string service = spec.service(stage.letter);
  for (const std::string& member : strangers(spec, stage, state)) {
    if (!is_public(member)) {
      step.warnings.push_back(member + " may call " + service + ", too, beside the stage before it");
      continue;
    }
    step.differences.push_back("access: anybody may call " + service + " (" + member + ")");
    if (deploys && member == "allUsers") continue;  // goes with --no-allow-unauthenticated
    step.calls.push_back(service_call(spec, {"run", "services", "remove-iam-policy-binding", service,
                                             "--member=" + member, "--role=roles/run.invoker"}));
  }
}

std::string promised_url(const CloudSpec& spec, const CloudStage& stage, CloudState state) {
  if (state.project_number.empty()) state.project_number = "PROJECT_NUMBER";  // in a dry run
  return state.promised_url(spec.service(stage.letter), spec.region);
}

}  // namespace

std::string own_addresses(const CloudSpec& spec, std::size_t index, const CloudState& state) {
  const std::string promised = promised_url(spec, spec.stages[index], state);
  const std::string used = state.url(spec.service(spec.stages[index].letter));
  return used.empty() || used == promised ? promised : promised + "," + used;
}

CloudStep service_step(const CloudSpec& spec, std::size_t index, const CloudState& state) {
  const CloudStage& stage = spec.stages[index];
  const std::string service = spec.service(stage.letter);
  StageAddresses addresses{"", own_addresses(spec, index, state)};
  if (index + 1 < spec.stages.size()) {
    addresses.next = state.url(spec.service(spec.stages[index + 1].letter));
    // Only a dry run comes here before the stage behind has an address; this is the form that Google gives it.
    if (addresses.next.empty()) addresses.next = promised_url(spec, spec.stages[index + 1], state);
  }
  CloudStep step{"stage " + stage.letter, "service " + service, "roles/run.admin", {}, {}};
  want_service(spec, stage, state, addresses, step);
  step.yields = step.calls.empty() ? "" : service;
  return step;
}

std::vector<std::string> strangers(const CloudSpec& spec, const CloudStage& stage, const CloudState& state) {
  const bool is_first = stage == spec.stages.front();
  std::vector<std::string> found;
  for (const std::string& member : invokers_of(spec.service(stage.letter), state)) {
    if (is_first && (spec.access == CloudCallers::kPublic || !is_public(member))) continue;
    const std::string before(1, static_cast<char>(stage.letter[0] - 1));
    if (is_first || member != "serviceAccount:" + spec.account(before)) found.push_back(member);
  }
  return found;
}

CloudStep deploy_step(const CloudSpec& spec, std::size_t index, const CloudState& state) {
  CloudStep step = service_step(spec, index, state);
  const CloudStage& stage = spec.stages[index];
  want_no_stranger(spec, stage, state, !step.yields.empty(), step);
  if (index > 0) {
    want_caller(spec, stage, spec.stages[index - 1], state, step);
  } else if (spec.access == CloudCallers::kPublic && !spec.api_key) {
    step.warnings.push_back("anybody who knows the address may use " + spec.service(stage.letter) +
                            ": access is public and no key is set; with `access: key` callers need one");
  }
  return step;
}

}  // namespace commissure
