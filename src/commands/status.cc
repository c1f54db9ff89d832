#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "client/chain_watch.h"
#include "client/stage_table.h"
#include "cloud/watch.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"

namespace commissure {

namespace {

struct StatusOptions {
  std::string url;
  bool as_json = false;
  bool live = false;
  CloudChoice choice;
};

/// What the machine itself knows of a local stage, put over what stage A reports.
Json with_process(const StageProcess& local, const Json& reported) {
  Json stage = {{"stage", local.name}, {"state", "unknown"}, {"problem", ""}};
  for (const Json& entry : reported) {
    if (const Json* name = find_member(entry, "stage"); name != nullptr && *name == local.name) stage = entry;
  }
  stage["pid"] = local.pid;
  stage["alive"] = is_alive(local);
  if (!stage["alive"].get<bool>()) {
    stage["state"] = "dead";
    stage["problem"] = "process " + std::to_string(local.pid) + " ended";
  }
  stage["last_log"] = last_log_line(local.log);
  return stage;
}

bool is_well(const Json& stages) {
  for (const Json& stage : stages) {
    const Json* state = find_member(stage, "state");
    if (state == nullptr || (*state != "ready" && *state != "cold" && *state != "loading")) return false;
  }
  return true;
}

void print(const Json& report) {
  fmt::print("{}  {}  {}\n", report["model"].get<std::string>(), report["url"].get<std::string>(),
             report["healthy"].get<bool>() ? "healthy" : "NOT HEALTHY");
  for (const Json& stage : report["stages"]) {
    fmt::print("{}\n", stage_line(stage));
    const Json* state = find_member(stage, "state");
    const Json* log = find_member(stage, "last_log");
    if (state != nullptr && *state == "dead" && log != nullptr)
      fmt::print("         last log line: {}\n", log->get<std::string>());
  }
  if (!report["healthy"].get<bool>()) {
    if (const Json* problem = find_member(report, "problem")) fmt::print("{}\n", problem->get<std::string>());
    fmt::print("To restart dead stages: commissure up --local --detach\n");
  }
}

Result<int> show_status(const StatusOptions& options) {
  const auto local = options.url.empty() ? TRY(read_local_state()) : std::nullopt;
  const bool named = !options.url.empty() || std::getenv("COMMISSURE_URL") != nullptr;
  if (!named && !local && has_deployment_file(options.choice))
    return show_cloud_status(options.choice, options.live, options.as_json, cloud_outside());
  if (!named && !local) {
    if (options.as_json) {
      fmt::print("{}\n", pretty_json({{"running", false}}));
    } else {
      fmt::print("Nothing is running. Start with: commissure up --local\n");
    }
    return 3;
  }
  const ApiAddress endpoint = TRY(find_api({options.url}));
  const auto health = exchange_json(endpoint, "/health");
  Json reported = Json::array();
  Json report = {
      {"running", true}, {"url", endpoint.url}, {"model", local ? local->model_name : ""}, {"healthy", false}};
  if (health) {
    if (const Json* stages = find_member(*health, "stages")) reported = *stages;
    if (const Json* model = find_member(*health, "model")) report["model"] = *model;
    report["healthy"] = find_member(*health, "status") != nullptr && health->at("status") == "ok";
    if (const Json* error = find_member(*health, "error")) report["problem"] = error->value("message", "");
  } else {
    report["problem"] = health.error().message();
  }
  report["stages"] = reported;
  if (local) {
    report["stages"] = Json::array();
    for (const StageProcess& stage : local->stages) report["stages"].push_back(with_process(stage, reported));
  }
  report["healthy"] = report["healthy"].get<bool>() && is_well(report["stages"]);
  if (options.as_json) {
    fmt::print("{}\n", pretty_json(report));
  } else {
    print(report);
  }
  return report["healthy"].get<bool>() ? 0 : 1;
}

}  // namespace

CommandRun add_status(CLI::App& app) {
  auto options = std::make_shared<StatusOptions>();
  app.add_option("--url", options->url, "endpoint; default: the local chain, or COMMISSURE_URL");
  app.add_flag("--json", options->as_json, "print JSON");
  app.add_flag("--live", options->live, "on Google Cloud: ask the stages themselves, which starts them");
  add_cloud_flags(app, options->choice);
  return [options] { return show_status(*options); };
}

}  // namespace commissure
