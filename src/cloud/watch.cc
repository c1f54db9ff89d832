#include "cloud/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>
#include <thread>

#include "client/chain_watch.h"
#include "client/stage_table.h"
#include "cloud/endpoint.h"
#include "cloud/executor.h"
#include "cloud/failure.h"
#include "cloud/grants.h"
#include "cloud/marks.h"
#include "cloud/service.h"
#include "cloud/steps.h"
#include "cloud/target.h"
#include "core/json_fields.h"
#include "terminal/stop_signal.h"

namespace commissure {

namespace {

/// The revisions that get a service's traffic, as the platform tells them.
Json serving_revisions(const Json& service) {
  Json serving = Json::array();
  const Json* status = find_member(service, "status");
  const Json* traffic = status == nullptr ? nullptr : find_member(*status, "traffic");
  if (traffic == nullptr || !traffic->is_array()) return serving;
  for (const Json& target : *traffic) {
    const double percent = number_of(target, "percent");
    if (percent > 0) serving.push_back({{"revision", text_of(target, "revisionName")}, {"percent", percent}});
  }
  return serving;
}

Json service_report(const CloudSpec& spec, const CloudStage& stage, const CloudState& state) {
  const std::string service = spec.service(stage.letter);
  const auto found = state.services.find(service);
  if (found == state.services.end()) return {{"stage", stage.letter}, {"service", service}, {"state", "absent"}};
  ServiceFacts facts = observed_facts(found->second);
  const bool failed = facts.contains("problem");
  Json report = {{"stage", stage.letter},
                 {"service", service},
                 {"state", failed ? "not ready" : "ready"},
                 {"url", state.url(service)},
                 {"image", facts["image"]},
                 {"release", facts["release"]},
                 {"traffic", facts["traffic"]},
                 {"serving", serving_revisions(found->second)},
                 {"newest", text_of(found->second.value("status", Json::object()), "latestCreatedRevisionName")},
                 {"strangers", strangers(spec, stage, state)},
                 {"is_own", owner_of_service(found->second) == spec.name},
                 {"gpu", facts["gpu"]},
                 {"min_instances", facts["min instances"]},
                 {"max_instances", facts["max instances"]}};
  if (failed) report["problem"] = facts["problem"];
  return report;
}

void print_service(const Json& report) {
  const auto text = [&](const char* key) { return report.value(key, std::string()); };
  if (text("state") == "absent") {
    fmt::print("stage {}  {}  absent\n", text("stage"), text("service"));
    return;
  }
  fmt::print("stage {}  {}  {}  release {}  {}..{} instances\n         {}\n", text("stage"), text("service"),
             text("state"), text("release"), text("min_instances"), text("max_instances"), text("url"));
  std::string serving;
  for (const Json& one : report["serving"]) {
    serving += serving.empty() ? "" : ", ";
    serving += fmt::format("{} ({:g} % of the traffic)", text_of(one, "revision"), number_of(one, "percent"));
  }
  if (!serving.empty()) fmt::print("         serves: {}\n", serving);
  if (text("traffic") != "latest") {
    fmt::print("         traffic goes to {}; the newest is {}\n", text("traffic"), text("newest"));
  }
  for (const Json& member : report["strangers"]) {
    const std::string name = member.get<std::string>();
    if (is_public(name))
      fmt::print("         ANYBODY may call it ({}): mend it with commissure up\n", name);
    else
      fmt::print("         {} may call it, beside the stage before\n", name);
  }
  if (!report.value("is_own", true))
    fmt::print("         it has no label of this deployment (commissure up --adopt)\n");
  if (report.contains("problem")) fmt::print("         {}\n", text("problem"));
}

/// What carries the deployment's mark and the file does not ask for. Rights on buckets are not read here.
Json left_behind(const CloudSpec& spec, const CloudState& state) {
  Json left = Json::array();
  for (const CloudStep& step : prune_steps(spec, state)) {
    for (const std::string& difference : step.differences) left.push_back(difference);
  }
  return left;
}

/// `stages`: what the stages say themselves, asked where all services are ready; empty otherwise.
Result<int> report_services(const CloudSpec& spec, const CloudState& state, bool as_json,
                            const std::function<Result<Json>()>& stages) {
  Json report = {
      {"deployment", spec.name}, {"project", spec.project}, {"region", spec.region}, {"services", Json::array()}};
  std::size_t n_ready = 0, n_absent = 0;
  bool is_open = false;  // a stage to everybody who should not
  for (const CloudStage& stage : spec.stages) {
    report["services"].push_back(service_report(spec, stage, state));
    n_ready += report["services"].back()["state"] == "ready" ? 1 : 0;
    n_absent += report["services"].back()["state"] == "absent" ? 1 : 0;
    is_open = is_open || std::ranges::any_of(strangers(spec, stage, state), is_public);
  }
  report["left"] = left_behind(spec, state);
  if (stages && n_ready == spec.stages.size()) report["stages"] = TRY(stages());
  if (as_json) {
    fmt::print("{}\n", pretty_json(report));
  } else {
    fmt::print("{} in {}, {}\n", spec.name, spec.project, spec.region);
    for (const Json& service : report["services"]) print_service(service);
    for (const Json& left : report["left"])
      fmt::print("left behind: {} (commissure up --prune)\n", left.get<std::string>());
    if (report.contains("stages")) fmt::print("{}", stage_table(report["stages"]));
  }
  if (n_absent == spec.stages.size()) return 3;
  return n_ready == spec.stages.size() && !is_open ? 0 : 1;
}

ProgramCall logs_call(const CloudSpec& spec, const CloudLogsOptions& options, const std::string& since) {
  std::string services;
  for (const CloudStage& stage : spec.stages) {
    if (!options.stage.empty() && options.stage != stage.letter) continue;
    services += (services.empty() ? "\"" : " OR \"") + spec.service(stage.letter) + "\"";
  }
  std::string filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(" + services +
                       ") AND resource.labels.location=\"" + spec.region + "\"";
  if (!since.empty()) filter += " AND timestamp>=\"" + since + "\"";
  return gcloud({"logging", "read", filter, "--project=" + spec.project, "--format=json", "--freshness=7d",
                 "--limit=" + std::to_string(since.empty() ? options.n_lines : 1000)});
}

/// "2026-01-01T00:00:00Z a INFO loaded layers=0-9 ms=12".
std::string log_line(const Json& entry, const CloudSpec& spec) {
  const Json* labels = entry.contains("resource") ? find_member(entry["resource"], "labels") : nullptr;
  const std::string service = labels == nullptr ? "" : text_of(*labels, "service_name");
  const std::string stage = service.starts_with(spec.name + "-") ? service.substr(spec.name.size() + 1) : service;
  std::string text = text_of(entry, "textPayload");
  if (const Json* payload = find_member(entry, "jsonPayload"); payload != nullptr && payload->is_object()) {
    text = text_of(*payload, "message");
    for (const auto& [key, value] : payload->items()) {
      if (key == "message" || key == "severity" || key == "time" || key == "component") continue;
      text += fmt::format(" {}={}", key, value.is_string() ? value.get<std::string>() : dump_json(value));
    }
  }
  return fmt::format("{} {} {} {}", text_of(entry, "timestamp"), stage, text_of(entry, "severity"), text);
}

}  // namespace

Result<int> show_cloud_status(const CloudChoice& choice, bool live, bool as_json, const CloudOutside& outside) {
  const CloudSpec spec = names_of(TRY(read_cloud_file(choice, outside.environment)));
  const ProgramRunner run = outside.quiet();
  CloudReport notes;
  notes.note = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  CloudExecutor executor(spec, run, notes);
  TRY(executor.read_marked(true));
  std::function<Result<Json>()> stages;
  if (live) stages = [&]() -> Result<Json> { return fetch_stages(TRY(find_cloud_api(choice, outside))); };
  return report_services(spec, executor.state(), as_json, stages);
}

Status check_cloud_quota(const CloudSpec& spec, const CloudOutside& outside) {
  const ProgramRunner run = outside.quiet();
  const CloudReport quiet;
  return CloudExecutor(spec, run, quiet).check_quota();
}

Result<int> show_cloud_logs(const CloudLogsOptions& options, const CloudOutside& outside) {
  const CloudSpec spec = names_of(TRY(read_cloud_file(options.choice, outside.environment)));
  const bool known =
      std::ranges::any_of(spec.stages, [&](const CloudStage& stage) { return stage.letter == options.stage; });
  if (!options.stage.empty() && !known) {
    return Error(Code::kNotFound, "there is no stage ", options.stage, "; the last one is ", spec.stages.back().letter);
  }
  std::set<std::string> shown;  // entries of one second come again when the next read begins there
  std::string since;
  catch_stop_signals();
  do {
    const ProgramCall call = logs_call(spec, options, since);
    const auto answer = outside.run(call, {});
    if (!answer && answer.error().code() == Code::kCancelled) return 0;
    if (!answer) return Error(answer.error());
    if (!answer->good()) return explain_failure(spec, {"logs", "", "roles/logging.viewer", {}, {}}, call, *answer);
    Json entries = TRY(parse_json(answer->output));
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {  // the newest comes first
      const std::string line = log_line(*entry, spec);
      since = std::max(since, text_of(*entry, "timestamp"));
      const std::string id = text_of(*entry, "insertId");
      if (!shown.insert(id.empty() ? line : id).second) continue;
      std::printf("%s\n", line.c_str());
    }
    std::fflush(stdout);
    if (options.follow) std::this_thread::sleep_for(std::chrono::seconds(2));
  } while (options.follow);
  return 0;
}

}  // namespace commissure
