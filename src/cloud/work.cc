#include "cloud/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "client/chain_watch.h"
#include "cloud/failure.h"
#include "cloud/image_builder.h"
#include "deployment/cloud_limits.h"
#include "plan/plan_making.h"
#include "terminal/captured_process.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

constexpr std::chrono::seconds kWakeLimit{1800};

std::string headline(const CloudSpec& spec, const Result<Planning>& planning) {
  std::string text = fmt::format("{} in {}, {}: {} in {} stage{}", spec.name, spec.project, spec.region,
                                 spec.model_name, spec.stages.size(), spec.stages.size() == 1 ? "" : "s");
  if (planning && planning->file)
    text += fmt::format(", {:.2f} USD an hour while all are up", planning->file->plan.usd_per_hour);
  return text;
}

bool is_wanted(const CloudStep& step, const CloudParts& parts) {
  if (step.name == "image") return parts.image;
  if (step.name == "weights") return parts.weights;
  return parts.services || !(step.name.starts_with("stage ") || step.name == "schedule");
}

/// Prints every command of a first `up`, ready for a shell; nothing is asked or changed.
int print_commands(const CloudSpec& spec, const CloudParts& parts, bool as_json) {
  for (const CloudStep& step : all_steps(spec, secrets_of_environment())) {
    if (!is_wanted(step, parts) || step.calls.empty()) continue;
    if (!as_json) fmt::print("# {}: {}\n", step.name, step.why);
    for (const std::string& warning : step.warnings) {
      if (!as_json) fmt::print("# warning: {}\n", warning);
    }
    for (const ProgramCall& call : step.calls) {
      if (as_json)
        fmt::print("{}\n", dump_json({{"step", step.name}, {"command", command_line(call)}}));
      else
        fmt::print("{}\n", command_line(call));
    }
  }
  return 0;
}

/// A token of the person's own account, for services that IAM guards.
Result<std::string> identity_token(const ProgramRunner& run, const CloudSpec& spec) {
  if (const char* given = std::getenv("COMMISSURE_IDENTITY_TOKEN"); given != nullptr && *given != '\0') return given;
  const ProgramCall call = gcloud({"auth", "print-identity-token"});
  const ProgramAnswer answer = TRY(run(call));
  if (!answer.good()) return explain_failure(spec, {"token", "", "roles/run.invoker", {}, {}}, call, answer);
  return answer.output.substr(0, answer.output.find('\n'));
}

Result<ApiAddress> api_address(const ProgramRunner& run, const CloudSpec& spec, const std::string& url) {
  ApiAddress address{url, secrets_of_environment().api_key};
  if (spec.access == CloudAccess::kIam) address.identity_token = TRY(identity_token(run, spec));
  return address;
}

std::string curl_line(const CloudSpec& spec, const std::string& url) {
  std::string line = "  curl " + url + "/v1/chat/completions -H 'Content-Type: application/json' \\\n";
  if (spec.access == CloudAccess::kIam) {
    line += "    -H \"X-Serverless-Authorization: Bearer $(gcloud auth print-identity-token)\" \\\n";
  }
  if (spec.api_key) line += "    -H \"Authorization: Bearer $COMMISSURE_API_KEY\" \\\n";
  return line + "    -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'";
}

/// The proof that it works: eight tokens through all stages.
Status smoke_test(const ApiAddress& address, CloudConsole& console) {
  const Json request = {{"prompt", "Hello"}, {"max_tokens", 8}, {"temperature", 0}};
  const auto go_on = [](const std::string&) { return stop_signal() == 0; };
  const AnswerSummary answer = TRY(stream_answer(address, request, go_on));
  TRY(check_stopped());
  console.say({{"event", "answer"}, {"text", answer.text}, {"seconds", answer.seconds}},
              fmt::format("a first answer in {}", human_seconds(answer.seconds)));
  return {};
}

/// Wakes the chain and asks it, then says where it is.
Status finish(const CloudExecutor& executor, const CloudSpec& spec, const ProgramRunner& run, CloudConsole& console,
              bool wake) {
  const std::string url = executor.state().url(spec.service("a"));
  if (wake) {
    const ApiAddress address = TRY(api_address(run, spec, url));
    const Status warm = warm_chain(address, {}, kWakeLimit);
    if (!warm) return warm.error().within("step wake");
    const Status asked = smoke_test(address, console);
    if (!asked) return asked.error().within("step ask");
  }
  console.say(
      {{"event", "ready"}, {"url", url}, {"changes", executor.n_changes()}},
      fmt::format("{}\n\nServing {} at {}/v1\nTry it:\n{}\nTake it down:  commissure down",
                  executor.n_changes() == 0 ? "Nothing to change." : "", spec.model_name, url, curl_line(spec, url)));
  return {};
}

std::string what_would(const Planning& planning) {
  const auto other = std::ranges::find_if(planning.found, [&](const Alternative& found) {
    return found.plan.weights == planning.model.footprint.weights &&
           (planning.budget == 0 || found.plan.usd_per_hour <= planning.budget);
  });
  if (other == planning.found.end()) return "no machine of the catalogue does; see: commissure plan";
  const std::string cuts = fmt::format(", cuts: [{}]", fmt::join(other->plan.cuts(), ", "));
  return fmt::format("{} x {}{} would do, {:.2f} USD an hour", other->plan.stages.size(), other->machine,
                     other->plan.stages.size() > 1 ? cuts : "", other->plan.usd_per_hour);
}

Result<Planning> plan_file(const CloudChoice& choice) {
  PlanOptions options;
  options.choice = choice;
  options.use_file = true;
  options.wish.context = options.wish.streams = 0;  // the file's
  return make_plans(options);
}

/// What the stages' memory cannot hold, before anything is asked; and what would.
Status check_fit(const CloudChoice& choice, const Result<Planning>& planning, CloudConsole& console) {
  if (!planning) {
    console.note("whether the stages hold the model is not known: " + planning.error().message());
    return {};
  }
  if (planning->file->problems.empty()) return {};
  return Error(Code::kResourceExhausted, choice.file, ": ", planning->file->problems.front(), "; ",
               what_would(*planning));
}

/// A hub that refuses us refuses Cloud Build, too, where that has no token.
Status check_gated(const CloudChoice& choice, const CloudSpec& spec, const Result<Planning>& planning) {
  if (planning || spec.hub_token || spec.weights.source != WeightsSource::kHub) return {};
  const Code code = planning.error().code();
  if (code != Code::kUnauthenticated && code != Code::kPermissionDenied) return {};
  return Error(code, choice.file, ": ", spec.weights.repository, " is gated or private (", planning.error().message(),
               "): accept its terms at https://huggingface.co/", spec.weights.repository, ", set hub_token: true and ",
               kTokenHint);
}

/// The deployment as written and as planned.
struct CloudWork {
  CloudSpec spec;
  Result<Planning> planning;
};

/// A model's header is read once for both. Errors: as read_cloud_spec.
Result<CloudWork> read_work(const CloudWorkOptions& options) {
  Result<Planning> planning = options.dry_run ? Error(Code::kCancelled, "nothing is done") : plan_file(options.choice);
  const Checkpoint* header = planning ? planning->model.header.get() : nullptr;
  CloudSpec spec = TRY(read_cloud_spec(options.choice, options.source, header));
  // A known model was fetched just now.
  if (!planning && !options.dry_run && spec.weights.source == WeightsSource::kFiles)
    planning = plan_file(options.choice);
  if (planning && planning->model.header) {
    for (const TensorInfo& tensor : planning->model.header->tensors()) spec.weights.n_bytes += tensor.n_bytes;
  }
  return CloudWork{std::move(spec), std::move(planning)};
}

/// Who builds the image, where that is this machine.
Status choose_builder(const CloudWorkOptions& options, CloudSpec& spec) {
  if (!options.local_image) return {};
  const std::string& file = options.choice.file;
  if (!spec.own_image) return Error(Code::kInvalidArgument, file, ": `image` names one that is built: leave it out");
  if (spec.weights.baked)
    return Error(Code::kInvalidArgument, file,
                 ": with `weights: baked` Cloud Build builds the image around the model: set weights: bucket");
  spec.image_builder = options.dry_run ? "docker" : TRY(find_image_builder());
  return {};
}

/// Tells the console what comes, with the time that waking takes after it.
void announce(CloudReport& report, const CloudWork& work, const CloudParts& parts, bool wake, CloudConsole& console) {
  const bool wakes = wake && parts.whole() && work.planning && work.planning->file;
  const double waking = wakes ? work.planning->file->plan.cold_start_seconds : 0;
  report.planned = [&console, parts, waking](const std::vector<CloudStep>& steps) {
    std::vector<CloudStep> wanted;
    std::ranges::copy_if(steps, std::back_inserter(wanted),
                         [&](const CloudStep& step) { return is_wanted(step, parts); });
    console.plan(wanted, waking);
  };
}

/// Weights that are baked come first: the image is built from them.
Status do_parts(CloudExecutor& executor, const CloudParts& parts, bool baked) {
  TRY(executor.lay_foundation(secrets_of_environment()));
  if (baked && (parts.image || parts.weights)) TRY(executor.bring_weights());
  if (parts.image) TRY(executor.build_image());
  if (!baked && parts.weights) TRY(executor.bring_weights());
  if (parts.services) TRY(executor.deploy());
  return {};
}

}  // namespace

ProgramRunner console_runner(CloudConsole& console) {
  return [&console](const ProgramCall& call) {
    return run_captured(call, [&console](std::string_view line) { console.tick(line); });
  };
}

Result<int> do_cloud_work(const CloudWorkOptions& options, const CloudParts& parts) {
  CloudWork work = TRY(read_work(options));
  TRY(choose_builder(options, work.spec));
  const CloudSpec& spec = work.spec;
  const Status device = parts.services ? check_device(spec) : Status();
  if (options.dry_run) {
    if (!device) std::fprintf(stderr, "Only a dry run goes on: %s\n", device.error().message().c_str());
    return print_commands(spec, parts, options.as_json);
  }
  catch_stop_signals();
  CloudConsole console(options.as_json);
  if (parts.weights) TRY(check_gated(options.choice, spec, work.planning));
  if (parts.services) TRY(check_fit(options.choice, work.planning, console));
  if (!device) return device.error().within(options.choice.file);
  console.say({{"event", "start"}, {"deployment", spec.name}, {"project", spec.project}},
              headline(spec, work.planning));
  const ProgramRunner run = console_runner(console);
  CloudReport report = console.report();
  announce(report, work, parts, options.wake, console);
  CloudExecutor executor(spec, run, report);
  Status done = do_parts(executor, parts, spec.weights.baked);
  if (done && parts.whole()) done = finish(executor, spec, run, console, options.wake);
  if (!done) {
    if (options.as_json) console.say({{"event", "error"}, {"message", done.error().message()}}, "");
    return Error(done.error());
  }
  return 0;
}

Result<int> with_cloud(const CloudWorkOptions& options,
                       const std::function<Result<int>(CloudExecutor&, CloudConsole&)>& work) {
  const CloudSpec spec = TRY(read_cloud_names(options.choice));
  catch_stop_signals();
  CloudConsole console(options.as_json);
  const ProgramRunner run = console_runner(console);
  const CloudReport report = console.report();
  CloudExecutor executor(spec, run, report);
  return work(executor, console);
}

Result<ApiAddress> find_cloud_api(const CloudChoice& choice) {
  const CloudFile file = TRY(read_cloud_file(choice));
  const CloudSpec& spec = file.spec;
  const ProgramRunner run = [](const ProgramCall& call) { return run_captured(call); };
  const ProgramCall call = gcloud({"run", "services", "describe", spec.service("a"), "--region=" + spec.region,
                                   "--project=" + spec.project, "--format=value(status.url)"});
  const ProgramAnswer answer = TRY(run(call));
  if (says_absent(answer)) {
    return Error(Code::kNotFound, "the deployment ", spec.name, " is not on Cloud Run in ", spec.project, ", ",
                 spec.region, "; put it there with: commissure up");
  }
  if (!answer.good()) return explain_failure(spec, {"find", "", "roles/run.viewer", {}, {}}, call, answer);
  ApiAddress address = TRY(api_address(run, spec, answer.output.substr(0, answer.output.find('\n'))));
  address.model = file.model;
  return address;
}

}  // namespace commissure
