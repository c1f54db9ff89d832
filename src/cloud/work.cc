#include "cloud/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "client/chain_watch.h"
#include "client/client.h"
#include "cloud/endpoint.h"
#include "cloud/image_builder.h"
#include "cloud/secrets.h"
#include "cloud/target.h"
#include "deployment/cloud_limits.h"
#include "terminal/progress.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

constexpr std::chrono::seconds kWakeLimit{1800};

std::string headline(const CloudSpec& spec, const Result<DeploymentPrice>& price) {
  std::string text = fmt::format("{} in {}, {}: {} in {} stage{}", spec.name, spec.project, spec.region,
                                 spec.model_name, spec.stages.size(), spec.stages.size() == 1 ? "" : "s");
  if (price) text += fmt::format(", {:.2f} USD an hour while all are up", price->usd_per_hour);
  return text;
}

bool is_wanted(const CloudStep& step, const CloudParts& parts) {
  if (step.name == "image") return parts.image;
  if (step.name == "weights") return parts.weights;
  return parts.services || !(step.name.starts_with("stage ") || step.name == "schedule");
}

/// Prints every command of a first `up`, ready for a shell; nothing is asked or changed.
int print_commands(const CloudSpec& spec, const CloudParts& parts, const CloudSecrets& secrets, bool as_json) {
  for (const CloudStep& step : all_steps(spec, secrets)) {
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

std::string curl_line(const CloudSpec& spec, const std::string& url) {
  std::string line = "  curl " + url + "/v1/chat/completions -H 'Content-Type: application/json' \\\n";
  if (spec.access == CloudCallers::kIam) {
    line += "    -H \"X-Serverless-Authorization: Bearer $(gcloud auth print-identity-token)\" \\\n";
  }
  if (spec.api_key) line += "    -H \"Authorization: Bearer $COMMISSURE_API_KEY\" \\\n";
  return line + "    -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}'";
}

/// The proof that it works: eight tokens through all stages.
Status smoke_test(const ApiAddress& address, CloudConsole& console) {
  const Json request = {{"prompt", "Hello"}, {"max_tokens", 8}, {"temperature", 0}};
  const auto ignore = [](const std::string&) { return true; };
  const auto is_stopped = [] { return stop_signal() != 0; };
  const AnswerSummary answer = TRY(stream_answer(address, request, ignore, is_stopped));
  TRY(check_stopped());
  console.say({{"event", "answer"}, {"text", answer.text}, {"seconds", answer.seconds}},
              fmt::format("a first answer in {}", human_seconds(answer.seconds)));
  return {};
}

/// Wakes the chain and asks it, then says where it is.
Status finish(const CloudExecutor& executor, const CloudSpec& spec, const Environment& environment,
              const ProgramRunner& run, CloudConsole& console, bool wake) {
  const std::string url = executor.state().url(spec.service("a"));
  if (wake) {
    const ApiAddress address = TRY(address_of(spec, url, environment, run));
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

/// Whether the file cannot be judged from here, as opposed to being wrong.
bool is_out_of_reach(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kDeadlineExceeded ||
         error.code() == Code::kUnauthenticated || error.code() == Code::kPermissionDenied;
}

/// What is wrong with the file, or what the stages' memory cannot hold, before anything is asked; and what would.
Status check_fit(const CloudFile& file, const Result<DeploymentPrice>& price, CloudConsole& console) {
  if (!price && !is_out_of_reach(price.error())) {
    const bool names_file = price.error().message().starts_with(file.path);
    return names_file ? Error(price.error()) : price.error().within(file.path);
  }
  if (!price) {
    console.note("whether the stages hold the model is not known: " + price.error().message());
    return {};
  }
  if (price->problem.empty()) return {};
  return Error(Code::kResourceExhausted, file.path, ": ", price->problem);
}

/// A hub that refuses us refuses Cloud Build, too, where that has no token.
Status check_gated(const CloudFile& file, const CloudTarget& target) {
  const CloudSpec& spec = target.spec;
  if (target.price || spec.hub_token || spec.weights.source != WeightsSource::kHub) return {};
  const Error& refusal = target.price.error();
  if (refusal.code() != Code::kUnauthenticated && refusal.code() != Code::kPermissionDenied) return {};
  return Error(refusal.code(), file.path, ": ", spec.weights.repository, " is gated or private (", refusal.message(),
               "): accept its terms at https://huggingface.co/", spec.weights.repository, ", set hub_token: true and ",
               kTokenHint);
}

/// Who builds the image, where that is this machine.
Status choose_builder(const CloudWorkOptions& options, const CloudFile& file, const ProgramRunner& run,
                      CloudSpec& spec) {
  if (!options.local_image) return {};
  if (!spec.own_image)
    return Error(Code::kInvalidArgument, file.path, ": `image` names one that is built: leave it out");
  if (spec.weights.baked)
    return Error(Code::kInvalidArgument, file.path,
                 ": with `weights: baked` Cloud Build builds the image around the model: set weights: bucket");
  spec.image_builder = options.dry_run ? "docker" : TRY(find_image_builder(run));
  return {};
}

/// Tells the console what comes, with the time that waking takes after it.
void announce(CloudReport& report, const CloudTarget& target, const CloudParts& parts, bool wake,
              CloudConsole& console) {
  const double waking = wake && parts.whole() && target.price ? target.price->cold_start_seconds : 0;
  report.planned = [&console, parts, waking](const std::vector<CloudStep>& steps) {
    std::vector<CloudStep> wanted;
    std::ranges::copy_if(steps, std::back_inserter(wanted),
                         [&](const CloudStep& step) { return is_wanted(step, parts); });
    console.plan(wanted, waking);
  };
}

/// Weights that are baked come first: the image is built from them.
Status do_parts(CloudExecutor& executor, const CloudParts& parts, const CloudSecrets& secrets,
                const CloudWorkOptions& options, bool baked) {
  TRY(executor.lay_foundation(secrets, options.adopt));
  if (baked && (parts.image || parts.weights)) TRY(executor.bring_weights());
  if (parts.image) TRY(executor.build_image());
  if (!baked && parts.weights) TRY(executor.bring_weights());
  if (parts.services) TRY(executor.deploy());
  return parts.whole() ? executor.prune(options.prune) : Status();
}

/// A runner that shows gcloud's progress on the console.
ProgramRunner console_runner(const CloudOutside& outside, CloudConsole& console) {
  return [&outside, &console](const ProgramCall& call) {
    return outside.run(call, [&console](std::string_view line) { console.tick(line); });
  };
}

}  // namespace

Result<int> do_cloud_work(const CloudWorkOptions& options, const CloudParts& parts, const CloudOutside& outside) {
  const CloudFile file = TRY(read_cloud_file(options.choice, outside.environment));
  CloudTarget target = TRY(plan_target(file, options.source, outside.find_model, !options.dry_run));
  TRY(choose_builder(options, file, outside.quiet(), target.spec));
  const CloudSpec& spec = target.spec;
  const CloudSecrets secrets = read_secrets(outside.environment);
  const Status device = parts.services ? check_device(spec) : Status();
  if (options.dry_run) {
    if (!device) std::fprintf(stderr, "Only a dry run goes on: %s\n", device.error().message().c_str());
    return print_commands(spec, parts, secrets, options.as_json);
  }
  catch_stop_signals();
  CloudConsole console(options.as_json);
  if (parts.weights) TRY(check_gated(file, target));
  if (parts.services) TRY(check_fit(file, target.price, console));
  if (!device) return device.error().within(file.path);
  console.say({{"event", "start"}, {"deployment", spec.name}, {"project", spec.project}}, headline(spec, target.price));
  const ProgramRunner run = console_runner(outside, console);
  CloudReport report = console.report();
  announce(report, target, parts, options.wake, console);
  CloudExecutor executor(spec, run, report);
  Status done = do_parts(executor, parts, secrets, options, spec.weights.baked);
  if (done && parts.whole()) done = finish(executor, spec, outside.environment, run, console, options.wake);
  if (!done) {
    if (options.as_json) console.say({{"event", "error"}, {"message", done.error().message()}}, "");
    return Error(done.error());
  }
  return 0;
}

Result<int> with_cloud(const CloudWorkOptions& options, const CloudOutside& outside,
                       const std::function<Result<int>(CloudExecutor&, CloudConsole&)>& work) {
  const CloudSpec spec = names_of(TRY(read_cloud_file(options.choice, outside.environment)));
  catch_stop_signals();
  CloudConsole console(options.as_json);
  const ProgramRunner run = console_runner(outside, console);
  const CloudReport report = console.report();
  CloudExecutor executor(spec, run, report);
  return work(executor, console);
}

}  // namespace commissure
