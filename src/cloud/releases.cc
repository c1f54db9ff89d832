#include "cloud/releases.h"

#include <algorithm>
#include <map>
#include <vector>

#include "cloud/service.h"

namespace commissure {

namespace {

/// What one release left behind.
struct Release {
  std::string id;
  std::string created;                           ///< of its newest revision; RFC 3339 sorts as text
  std::map<std::string, std::string> revisions;  ///< by service, the newest each
};

std::string member(const Json& object, std::initializer_list<const char*> keys) {
  const Json* value = &object;
  for (const char* key : keys) {
    value = find_member(*value, key);
    if (value == nullptr) return "";
  }
  return value->is_string() ? value->get<std::string>() : "";
}

/// Releases that all stages have, the newest first.
std::vector<Release> complete_releases(const CloudSpec& spec, const Json& revisions) {
  struct Revision {
    std::string created, name, service, release;
  };
  std::vector<Revision> sorted;
  for (const Json& revision : revisions) {
    sorted.push_back({member(revision, {"metadata", "creationTimestamp"}), member(revision, {"metadata", "name"}),
                      member(revision, {"metadata", "labels", "serving.knative.dev/service"}),
                      member(revision, {"metadata", "labels", "commissure-release"})});
  }
  std::ranges::sort(sorted, {}, &Revision::created);
  std::map<std::string, Release> by_id;
  for (const Revision& revision : sorted) {
    if (revision.release.empty()) continue;
    Release& release = by_id[revision.release];
    release.id = revision.release;
    release.created = revision.created;
    release.revisions[revision.service] = revision.name;
  }
  std::vector<Release> complete;
  for (auto& [id, release] : by_id) {
    const bool whole = std::ranges::all_of(
        spec.stages, [&](const CloudStage& stage) { return release.revisions.contains(spec.service(stage.letter)); });
    if (whole) complete.push_back(std::move(release));
  }
  std::ranges::sort(complete, std::ranges::greater(), &Release::created);
  return complete;
}

/// The revision that gets a service's traffic.
std::string serving_revision(const Json& service) {
  const Json* status = find_member(service, "status");
  const Json* traffic = status == nullptr ? nullptr : find_member(*status, "traffic");
  if (traffic == nullptr || !traffic->is_array() || traffic->empty()) return "";
  return member(traffic->front(), {"revisionName"});
}

}  // namespace

Result<CloudStep> scale_step(const CloudSpec& spec, const CloudState& state, const ScaleWish& wish) {
  CloudStep step{"scale", "how many instances are kept", "roles/run.admin", {}, {}};
  bool found = false;
  for (const CloudStage& stage : spec.stages) {
    if (!wish.letter.empty() && stage.letter != wish.letter) continue;
    found = true;
    const std::string service = spec.service(stage.letter);
    const auto body = state.services.find(service);
    if (body == state.services.end()) {
      return Error(Code::kNotFound, "service ", service, " is not deployed; run: commissure up");
    }
    if (wish.max_instances > 1 && spec.stages.size() > 1) {
      return Error(Code::kInvalidArgument,
                   "a chain has one instance of each stage: --max 1, and deploy a second chain for more");
    }
    const int most = wish.max_instances < 0 ? stage.max_instances : wish.max_instances;
    if (wish.min_instances > most) {
      return Error(Code::kInvalidArgument, "stage ", stage.letter, " cannot keep ", wish.min_instances,
                   " instances: it has at most ", most);
    }
    ServiceFacts facts = observed_facts(body->second);
    std::vector<std::string> call = {
        "run", "services", "update", service, "--project=" + spec.project, "--region=" + spec.region};
    const auto want = [&](const char* fact, const char* flag, int value) {
      if (value < 0 || facts[fact] == std::to_string(value)) return;
      step.differences.push_back(service + ": " + fact + " " + facts[fact] + ", wanted " + std::to_string(value));
      call.push_back(flag + std::to_string(value));
    };
    want("min instances", "--min=", wish.min_instances);
    want("max instances", "--max-instances=", wish.max_instances);
    if (call.size() > 6) step.calls.push_back(gcloud(std::move(call)));
  }
  if (!found)
    return Error(Code::kNotFound, "there is no stage ", wish.letter, "; the last one is ", spec.stages.back().letter);
  return step;
}

ProgramCall revisions_call(const CloudSpec& spec) {
  return gcloud({"run", "revisions", "list", "--project=" + spec.project, "--region=" + spec.region, "--format=json"});
}

Result<CloudStep> rollback_step(const CloudSpec& spec, const CloudState& state, const Json& revisions) {
  const std::vector<Release> releases = complete_releases(spec, revisions);
  const auto first = state.services.find(spec.service(spec.stages.front().letter));
  if (first == state.services.end()) return Error(Code::kNotFound, "nothing is deployed; run: commissure up");
  const std::string serving = serving_revision(first->second);
  auto current = std::ranges::find_if(
      releases, [&](const Release& release) { return release.revisions.at(first->first) == serving; });
  if (current == releases.end() || current + 1 == releases.end()) {
    return Error(Code::kNotFound, "there is no release before the one that serves (", releases.size(),
                 " complete releases are kept)");
  }
  const Release& target = *(current + 1);
  CloudStep step{"rollback", "to release " + target.id, "roles/run.admin", {}, {}};
  for (std::size_t index = spec.stages.size(); index-- > 0;) {
    const std::string service = spec.service(spec.stages[index].letter);
    const std::string& revision = target.revisions.at(service);
    step.differences.push_back(service + ": " + revision);
    step.calls.push_back(gcloud({"run", "services", "update-traffic", service, "--project=" + spec.project,
                                 "--region=" + spec.region, "--to-revisions=" + revision + "=100"}));
  }
  return step;
}

}  // namespace commissure
