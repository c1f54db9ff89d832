#include "cloud/ownership.h"

#include "cloud/marks.h"

namespace commissure {

namespace {

std::string listed(const std::vector<ForeignThing>& things) {
  std::string text;
  for (const ForeignThing& thing : things) {
    text += (text.empty() ? "" : ", ") + thing.what;
    if (!thing.owner.empty()) text += " (of the deployment " + thing.owner + ")";
  }
  return text;
}

bool wants_warm_account(const CloudSpec& spec) {
  return !spec.warm_schedule.empty() && spec.access == CloudCallers::kIam;
}

}  // namespace

bool is_own_bucket(const CloudSpec& spec, const CloudState& state) {
  if (!state.bucket) return false;
  const Json* labels = find_member(*state.bucket, "labels");
  const bool is_bare = (labels == nullptr || labels->empty()) && !state.bucket_holds_objects;
  return owner_of(*state.bucket) == spec.name || (names_own_bucket(spec) && is_bare);
}

std::vector<ForeignThing> foreign_things(const CloudSpec& spec, const CloudState& state) {
  std::vector<ForeignThing> things;
  const auto judge = [&](const std::string& what, const std::string& owner) {
    if (owner != spec.name) things.push_back({what, owner});
  };
  for (const CloudStage& stage : spec.stages) {
    const auto found = state.services.find(spec.service(stage.letter));
    if (found != state.services.end()) judge("service " + found->first, owner_of_service(found->second));
  }
  if (state.repository && spec.own_image) judge("repository " + spec.name, owner_of(*state.repository));
  if (state.bucket && names_own_bucket(spec) && !is_own_bucket(spec, state))
    judge("bucket gs://" + spec.bucket, owner_of(*state.bucket));
  for (const auto& [wanted, secret] :
       {std::pair{spec.hub_token, spec.hub_secret()}, std::pair{spec.api_key, spec.key_secret()}}) {
    const auto found = state.secret_owners.find(secret);
    if (wanted && found != state.secret_owners.end()) judge("secret " + secret, found->second);
  }
  std::vector<std::string> roles = {"build"};
  for (const CloudStage& stage : spec.stages) roles.push_back(stage.letter);
  if (wants_warm_account(spec)) roles.emplace_back("warm");
  for (const std::string& role : roles) {
    const auto found = state.accounts.find(spec.account(role));
    if (found != state.accounts.end() && !is_own_account(spec, found->second))
      things.push_back({"account " + spec.account_id(role), ""});
  }
  if (state.warm_job && !spec.warm_schedule.empty() && !is_own_job(spec, *state.warm_job))
    things.push_back({"job " + spec.warm_job(), ""});
  return things;
}

Status check_owned(const CloudSpec& spec, const std::vector<ForeignThing>& things, bool adopt) {
  std::vector<ForeignThing> refused;
  for (const ForeignThing& thing : things) {
    if (!adopt || !thing.owner.empty()) refused.push_back(thing);
  }
  if (refused.empty()) return {};
  const std::string cure = adopt ? "" : "; or, if they are this deployment's, take them: commissure up --adopt";
  return Error(Code::kFailedPrecondition, "step read: there is already, and not made by this deployment (label ",
               deployment_mark(spec), "): ", listed(refused), "; set another `name` in commissure.yaml", cure);
}

}  // namespace commissure
