#include "cloud/executor.h"

#include <algorithm>
#include <future>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "cloud/failure.h"
#include "cloud/ownership.h"
#include "cloud/quota.h"
#include "cloud/releases.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadsAtOnce = 4;  // each is a process of its own
constexpr int kPatientTries = 6;         // 1 + 2 + 4 + 8 + 16 s between them: Google's services learn with a delay

using Note = std::function<void(const std::string&)>;

/// Repeats a call while it fails for a reason that passes.
Result<ProgramAnswer> call_patiently(const ProgramRunner& run, const ProgramCall& call,
                                     bool (*passes)(const ProgramAnswer&), const Note& note) {
  auto pause = std::chrono::seconds(1);
  for (int tries = 1;; ++tries) {
    ProgramAnswer answer = TRY(run(call));
    if (!passes(answer) || tries == kPatientTries) return answer;
    if (note) note(google_words(answer) + "; again in " + std::to_string(pause.count()) + " s");
    std::this_thread::sleep_for(pause);
    pause *= 2;
  }
}

/// Everything after the foundation, in the order of `up`.
std::vector<CloudStep> later_steps(const CloudSpec& spec, const CloudState& state) {
  std::vector<CloudStep> steps = {image_step(spec, state), weights_step(spec, state)};
  if (spec.weights.baked) std::swap(steps[0], steps[1]);  // the image is built from them
  for (std::size_t index = spec.stages.size(); index-- > 0;) steps.push_back(deploy_step(spec, index, state));
  if (!spec.warm_schedule.empty()) steps.push_back(schedule_step(spec, state));
  return steps;
}

CloudStep reading() { return {"read", "what is there", "roles/viewer", {}, {}}; }

}  // namespace

Status CloudExecutor::ask(const std::vector<CloudRead>& reads) {
  for (std::size_t first = 0; first < reads.size(); first += kReadsAtOnce) {
    const std::size_t last = std::min(first + kReadsAtOnce, reads.size());
    std::vector<std::optional<std::future<Result<ProgramAnswer>>>> answers(last - first);
    for (std::size_t i = first; i < last; ++i) {
      if (!reads[i].api.empty() && !state_.apis.contains(reads[i].api)) continue;
      answers[i - first] = std::async(std::launch::async, [this, &read = reads[i]] {
        return read.may_be_disabled ? run_(read.call) : call_patiently(run_, read.call, says_disabled, {});
      });
    }
    for (auto& answer : answers) {
      if (answer) answer->wait();
    }
    for (std::size_t i = first; i < last; ++i) {
      if (!answers[i - first]) continue;
      const ProgramAnswer answer = TRY(answers[i - first]->get());
      if (!answer.good() && reads[i].may_be_absent && says_absent(answer)) continue;
      if (reads[i].may_be_disabled && says_disabled(answer)) continue;
      if (!answer.good() && reads[i].may_fail) {
        if (report_.note) report_.note("not known: " + reads[i].key + ": " + google_words(answer));
        continue;
      }
      if (!answer.good()) return explain_failure(spec_, reading(), reads[i].call, answer);
      const Status absorbed = reads[i].absorb(reads[i].key, answer.output, state_);
      if (!absorbed) return absorbed.error().within("step read: " + command_line(reads[i].call));
    }
  }
  return {};
}

Status CloudExecutor::read_marked(bool if_allowed) {
  state_ = {};
  const auto asked = [&](std::vector<CloudRead> reads) {
    for (CloudRead& read : reads) {
      if (read.key.empty()) read.key = command_line(read.call);
      read.may_fail = read.may_fail || (if_allowed && &read != &reads.front());
    }
    return ask(reads);
  };
  std::vector<CloudRead> reads = first_reads(spec_);
  std::ranges::for_each(reads, [&](CloudRead& read) { read.may_fail = if_allowed; });
  TRY(ask(reads));
  state_.apis.insert("run.googleapis.com");  // if it is not enabled the answer says so
  TRY(asked(mark_reads(spec_)));
  std::vector<CloudRead> policies = policy_reads(spec_, state_);
  for (CloudRead& read : policies) read.may_fail = if_allowed;
  return ask(policies);
}

Status CloudExecutor::read_services() {
  state_ = {};
  state_.apis.insert("run.googleapis.com");  // if it is not enabled the answer says so
  return ask({services_read(spec_)});
}

Status CloudExecutor::check_quota() {
  state_ = {};
  TRY(ask(first_reads(spec_)));
  TRY(ask(quota_reads(spec_)));
  if (state_.quotas.empty() && !gpu_quotas(spec_).empty())
    return Error(Code::kUnavailable,
                 "quotas are not known: cloudquotas.googleapis.com does not tell (`up` enables it)");
  return check_gpu_quota(spec_, state_);
}

/// The call with what another program says as its input.
Result<ProgramCall> CloudExecutor::with_input(const CloudStep& step, const ProgramCall& call) {
  ProgramCall ready = call;
  if (call.input_of.empty()) return ready;
  const ProgramCall source = {.arguments = std::exchange(ready.input_of, {})};
  const ProgramAnswer said = TRY(run_(source));
  if (!said.good()) return explain_failure(spec_, step, source, said);
  ready.input = said.output.substr(0, said.output.find('\n'));
  ready.secret_input = true;
  return ready;
}

/// Why call `index` of the step failed; a login that was made before it is undone.
Status CloudExecutor::fail(const CloudStep& step, std::size_t index, const ProgramAnswer& answer) {
  const auto here = step.calls.begin() + static_cast<std::ptrdiff_t>(index);
  if (std::any_of(step.calls.begin(), here, [](const ProgramCall& before) { return !before.input_of.empty(); })) {
    std::for_each(here, step.calls.end(), [&](const ProgramCall& later) {
      if (later.logs_out) static_cast<void>(run_(later));
    });
  }
  return explain_failure(spec_, step, *here, answer);
}

Status CloudExecutor::perform(const CloudStep& step) {
  const auto start = Clock::now();
  for (const std::string& warning : step.warnings) {
    if (report_.note) report_.note("warning: " + warning);
  }
  if (!step.differences.empty()) {
    if (report_.begin) report_.begin(step);
    if (!step.missing.empty()) return Error(Code::kInvalidArgument, "step ", step.name, ": ", step.missing);
  }
  for (std::size_t i = 0; i < step.calls.size(); ++i) {
    if (report_.call) report_.call(step, i);
    const ProgramCall call = TRY(with_input(step, step.calls[i]));
    const ProgramAnswer answer = TRY(call_patiently(run_, call, passes_with_time, report_.note));
    if ((!answer.good() && !call.logs_out) || leaves_policy_unset(answer)) return fail(step, i, answer);
    if (i == 0 && !step.yields.empty()) state_.services[step.yields] = TRY(parse_json(answer.output));
  }
  const bool changed = !step.differences.empty();
  n_changes_ += changed ? 1 : 0;
  if (report_.end) report_.end(step, changed, std::chrono::duration<double>(Clock::now() - start).count());
  return {};
}

/// What would stop the work half-way, before anything is made.
Status CloudExecutor::check_possible(const std::vector<CloudStep>& steps) const {
  TRY(check_gpu_quota(spec_, state_));
  for (const CloudStep& step : steps) {
    if (!step.missing.empty()) return Error(Code::kInvalidArgument, "step ", step.name, ": ", step.missing);
  }
  return {};
}

Status CloudExecutor::lay_foundation(const CloudSecrets& secrets, bool adopt) {
  TRY(ask(first_reads(spec_)));
  const CloudStep apis = apis_step(spec_, state_);
  TRY(perform(apis));
  if (!apis.calls.empty()) {
    std::vector<CloudRead> again = first_reads(spec_);
    for (CloudRead& read : again) read.may_be_disabled = false;
    TRY(ask(again));
  }
  std::vector<CloudRead> reads = mark_reads(spec_);
  std::ranges::move(second_reads(spec_), std::back_inserter(reads));
  TRY(ask(reads));
  TRY(ask(policy_reads(spec_, state_)));
  const std::vector<ForeignThing> foreign = foreign_things(spec_, state_);
  TRY(check_owned(spec_, foreign, adopt));
  for (const ForeignThing& thing : foreign) {
    if (report_.note) report_.note("adopts " + thing.what);
  }
  TRY(ask(quota_reads(spec_)));
  const std::vector<CloudStep> steps = foundation_steps(spec_, state_, secrets);
  TRY(check_possible(steps));
  if (report_.planned) {
    std::vector<CloudStep> all = steps;
    for (CloudStep& step : later_steps(spec_, state_)) all.push_back(std::move(step));
    report_.planned(all);
  }
  for (const CloudStep& step : steps) TRY(perform(step));
  return {};
}

Status CloudExecutor::build_image() { return perform(image_step(spec_, state_)); }

Status CloudExecutor::bring_weights() {
  const CloudStep step = weights_step(spec_, state_);
  TRY(perform(step));
  if (step.calls.empty()) return {};
  state_.objects.clear();
  TRY(ask({read_objects(spec_)}));
  const CloudStep after = weights_step(spec_, state_);
  if (after.differences.empty()) return {};
  return Error(Code::kDataLoss, "step weights: after the upload the bucket still differs: ", after.differences.front(),
               "; run the same command again");
}

Status CloudExecutor::deploy() {
  for (std::size_t index = spec_.stages.size(); index-- > 0;) {
    const CloudStep step = deploy_step(spec_, index, state_);
    const std::string addresses = own_addresses(spec_, index, state_);
    TRY(perform(step));
    // Its callers use another address than the promised one: tokens made out to that are good too.
    if (index > 0 && own_addresses(spec_, index, state_) != addresses) TRY(perform(service_step(spec_, index, state_)));
    // A second call may have moved the traffic: the first one's body is out of date.
    if (step.calls.size() > 1 && !step.yields.empty()) TRY(ask({read_service(spec_, step.yields)}));
  }
  if (!spec_.warm_schedule.empty() || state_.warm_job) TRY(perform(schedule_step(spec_, state_)));
  return {};
}

Status CloudExecutor::prune(bool really) {
  for (const CloudStep& step : prune_steps(spec_, state_)) {
    if (step.differences.empty()) continue;
    if (really) TRY(perform(step));
    for (const std::string& left : step.differences) {
      if (!really && report_.note)
        report_.note("left behind, `commissure up --prune` removes it: " + left + " (" + step.why + ")");
    }
  }
  return {};
}

Status CloudExecutor::remove(bool all) {
  TRY(read_marked(false));
  for (const CloudStep& step : removal_steps(spec_, state_, all)) TRY(perform(step));
  return {};
}

Status CloudExecutor::scale(const ScaleWish& wish) {
  TRY(check_owned(spec_, foreign_things(spec_, state_), false));
  return perform(TRY(scale_step(spec_, state_, wish)));
}

Status CloudExecutor::roll_back() {
  TRY(check_owned(spec_, foreign_things(spec_, state_), false));
  const ProgramCall list = revisions_call(spec_);
  const ProgramAnswer answer = TRY(run_(list));
  if (!answer.good()) return explain_failure(spec_, reading(), list, answer);
  return perform(TRY(rollback_step(spec_, state_, TRY(parse_json(answer.output)))));
}

std::vector<CloudStep> all_steps(const CloudSpec& spec, const CloudSecrets& secrets) {
  const CloudState nothing;
  std::vector<CloudStep> steps = {apis_step(spec, nothing)};
  for (CloudStep& step : foundation_steps(spec, nothing, secrets)) steps.push_back(std::move(step));
  for (CloudStep& step : later_steps(spec, nothing)) steps.push_back(std::move(step));
  return steps;
}

}  // namespace commissure
