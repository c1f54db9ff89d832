#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "client/chain_watch.h"
#include "client/stage_table.h"
#include "cloud/watch.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "core/json_fields.h"
#include "local/local_chain.h"
#include "terminal/word_wrap.h"

namespace commissure {

namespace {

struct StatusOptions {
  std::string url;
  bool as_json = false;
  bool live = false;
  CloudChoice choice;
  LocalChoice local;
};

/// What the machine itself knows of a local stage, put over what stage A reports: of those behind a dead one A knows
/// nothing, and takes all that it does not hear of for one stage.
Json with_process(const LocalState& local, std::size_t index, const Json& reported) {
  const StageProcess& own = local.stages[index];
  Json stage = {{"stage", own.name}, {"state", "unknown"}, {"problem", ""}};
  for (const Json& entry : reported) {
    if (const Json* name = find_member(entry, "stage"); name != nullptr && *name == own.name) stage = entry;
  }
  const auto [first, last] = local.chain.layers(index);
  stage["layers"] = {first, last};
  stage["pid"] = own.process.pid;
  stage["alive"] = is_alive(own.process);
  stage["deaths"] = own.deaths;
  stage["last_death"] = own.last_death;
  stage["given_up"] = own.given_up;
  stage["last_log"] = last_log_line(own.log);
  if (stage["alive"].get<bool>()) {
    if (stage["state"] == "unknown") stage["problem"] = "alive; the stage before it has not reached it";
    return stage;
  }
  const bool comes_again = local.chain.restarts && !own.given_up && is_alive(local.supervisor);
  const std::string death =
      own.last_death.empty() ? "ended; last logged: " + text_of(stage, "last_log") : own.last_death;
  stage["state"] = own.given_up ? "given up" : "dead";
  stage["problem"] = own.given_up  ? fmt::format("it died {} times and is not started again: {}", own.deaths, death)
                     : comes_again ? death + "; it is started again"
                                   : death;
  return stage;
}

bool is_well(const Json& stages) {
  for (const Json& stage : stages) {
    const Json* state = find_member(stage, "state");
    if (state == nullptr || (*state != "ready" && *state != "cold" && *state != "loading")) return false;
  }
  return true;
}

/// Whose sampling defaults hold, and below it "temperature 0, top_p 0.95", in lines of at most 80 columns.
std::string sampling_text(const Json& defaults) {
  constexpr int kIndent = 2, kWidth = 80;
  std::string values;
  for (const auto& [name, value] : defaults["values"].items()) {
    const std::string shown = value.is_number() ? fmt::format("{:g}", value.get<double>()) : dump_json(value);
    values += fmt::format("{}{} {}", values.empty() ? "" : ", ", name, shown);
  }
  return fmt::format("Sampling defaults ({}):\n  {}\n", text_of(defaults, "from"),
                     wrapped_lines(values, kIndent, kWidth));
}

void print(const Json& report) {
  const bool healthy = report["healthy"].get<bool>();
  fmt::print("{}  {}  {}\n{}", report["model"].get<std::string>(), report["url"].get<std::string>(),
             healthy ? "healthy" : "NOT HEALTHY", stage_table(report["stages"]));
  for (const Json& stage : report["stages"]) {
    const double deaths = number_of(stage, "deaths");
    if (deaths == 0 || text_of(stage, "state") == "dead" || text_of(stage, "state") == "given up") continue;
    fmt::print("stage {} was started again {}: {}\n", text_of(stage, "stage"),
               deaths == 1 ? "once" : fmt::format("{} times, the last", deaths), text_of(stage, "last_death"));
  }
  if (const Json* defaults = find_member(report, "sampling")) fmt::print("{}", sampling_text(*defaults));
  if (const std::string problem = text_of(report, "problem"); !healthy && !problem.empty()) fmt::print("{}\n", problem);
  if (const std::string advice = text_of(report, "advice"); !advice.empty()) fmt::print("{}\n", advice);
}

/// The sampling defaults of the served model as /v1/models tells them: {"values", "from"}; null where it tells none.
Json sampling_defaults(const ApiAddress& endpoint) {
  const auto answer = exchange_json(endpoint, "/v1/models");
  const Json* models = answer ? find_member(*answer, "data") : nullptr;
  if (models == nullptr || !models->is_array() || models->empty()) return nullptr;
  const Json* values = find_member(models->front(), "default_sampling");
  if (values == nullptr || !values->is_object() || values->empty()) return nullptr;
  return {{"values", *values}, {"from", text_of(models->front(), "default_sampling_from")}};
}

/// What a person has to do, because nobody else does.
std::string advice_for(const LocalState& local) {
  const std::string name = local.chain.name == "local" ? "" : " --name " + local.chain.name;
  if (needs_revival(local) && is_alive(local.supervisor))
    return "To start dead stages again: commissure up --local --detach" + name;
  if (!is_alive(local.supervisor))
    return "The chain's supervisor ended, so dead stages stay dead; a new one: commissure up --local --detach" + name;
  return "";
}

Result<int> show_status(const StatusOptions& options) {
  const bool named = !options.url.empty() || (std::getenv("COMMISSURE_URL") != nullptr && !options.local.is_local &&
                                              options.local.name.empty() && !options.local.is_cloud);
  const ApiAddress given = named ? TRY(find_api({options.url})) : ApiAddress{};
  const auto local = named ? find_local_chain_at(given.url) : TRY(choose_local(options.local, options.choice));
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
  const ApiAddress endpoint = local ? local_api(*local) : given;
  const auto health = exchange_json(endpoint, "/health");
  Json reported = Json::array();
  Json report = {
      {"running", true}, {"url", endpoint.url}, {"model", local ? local->chain.model_name : ""}, {"healthy", false}};
  if (health) {
    if (const Json* stages = find_member(*health, "stages")) reported = *stages;
    if (const Json* model = find_member(*health, "model")) report["model"] = *model;
    report["healthy"] = find_member(*health, "status") != nullptr && health->at("status") == "ok";
    if (const Json* error = find_member(*health, "error")) report["problem"] = error->value("message", "");
  } else {
    report["problem"] = health.error().message();
  }
  if (health) {
    if (Json defaults = sampling_defaults(endpoint); !defaults.is_null()) report["sampling"] = std::move(defaults);
  }
  report["stages"] = reported;
  if (local) {
    report["stages"] = Json::array();
    for (std::size_t i = 0; i < local->stages.size(); ++i)
      report["stages"].push_back(with_process(*local, i, reported));
    report["name"] = local->chain.name;
    report["supervisor"] = {{"pid", local->supervisor.pid}, {"alive", is_alive(local->supervisor)}};
    if (const std::string advice = advice_for(*local); !advice.empty()) report["advice"] = advice;
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
  app.add_option("--url", options->url, "endpoint; default: COMMISSURE_URL, or the local chain");
  add_local_flags(app, options->local);
  app.add_flag("--json", options->as_json, "print JSON");
  app.add_flag("--live", options->live, "on Google Cloud: ask the stages themselves, which starts them");
  add_cloud_flags(app, options->choice);
  return [options] { return show_status(*options); };
}

}  // namespace commissure
