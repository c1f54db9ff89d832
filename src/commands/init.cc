#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "commands/command.h"
#include "core/environment.h"
#include "deployment/cloud_file.h"
#include "deployment/cloud_limits.h"
#include "deployment/file_keys.h"
#include "plan/model_footprint.h"

namespace commissure {

namespace {

struct InitOptions {
  std::string file = "commissure.yaml";
  std::string name = "commissure";
  std::string project, region, model, kv_dtype = "auto";
  double tok_s = 0, budget = 0;
  int context = 4096;
  bool yes = false, force = false;
};

/// The answer typed to a question; `otherwise` for an empty line or where nobody can be asked.
std::string ask(const InitOptions& options, const std::string& question, const std::string& given,
                const std::string& otherwise) {
  if (!given.empty()) return given;
  if (options.yes || isatty(STDIN_FILENO) == 0) return otherwise;
  fmt::print("{}{}: ", question, otherwise.empty() ? "" : " [" + otherwise + "]");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  return line.empty() ? otherwise : line;
}

/// USD an hour; 0: no matter. Errors: kInvalidArgument, not a number above zero.
Result<double> ask_budget(const InitOptions& options) {
  const std::string text = ask(options, "Most USD an hour while it is up (empty: no matter)", "", "");
  double budget = 0;
  if (text.empty()) return budget;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), budget);
  if (problem == std::errc() && end == text.data() + text.size() && budget > 0) return budget;
  return Error(Code::kInvalidArgument, "the budget is \"", text, "\"; it must be a number above zero, e.g. 4.50");
}

/// The cheapest chain for the model in the region. Errors: as measure_model, parse_catalogue and plan_chain.
Result<ChainPlan> choose_chain(const InitOptions& options, const Catalogue& catalogue) {
  const MeasuredModel model = TRY(measure_model(options.model, "", TRY(parse_kv_type(options.kv_dtype))));
  std::vector<std::vector<const Machine*>> kinds;
  for (const Machine& machine : catalogue.machines) {
    if (machine.is_in(options.region)) kinds.push_back({&machine});
  }
  PlanWish wish;
  wish.context = std::min(options.context, model.context);
  wish.tokens_per_second = options.tok_s;
  std::optional<Result<ChainPlan>> best;  // one kind of machine for all stages: the file says it once
  for (const auto& kind : kinds) {
    auto plan = plan_chain(model.footprint, kind, catalogue, wish);
    if (!best || (plan && (!*best || plan->usd_per_hour < (*best)->usd_per_hour))) best = std::move(plan);
  }
  if (!best) return Error(Code::kInvalidArgument, "no machine of the catalogue is offered in ", options.region);
  if (*best && options.budget > 0 && (*best)->usd_per_hour > options.budget) {
    return Error(Code::kResourceExhausted,
                 fmt::format("the cheapest chain, {} x {}, costs {:.2f} USD an hour, the budget is {:.2f}: a smaller "
                             "model, a shorter context or fewer tokens a second cost less",
                             (*best)->stages.size(), (*best)->stages.front().machine->name, (*best)->usd_per_hour,
                             options.budget));
  }
  return std::move(*best);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string stages_text(const ChainPlan& plan) {
  const Machine& machine = *plan.stages.front().machine;
  std::string text =
      fmt::format("# {} x {}: about {:.1f} tokens a second for one stream, {:.2f} USD an hour while up (computed).\n",
                  plan.stages.size(), machine.name, plan.single_stream, plan.usd_per_hour);
  if (plan.stages.size() > 1)
    text += file_line(deployment_keys(), "cuts", fmt::format("[{}]", fmt::join(plan.cuts(), ", ")));
  text += fmt::format("stages:\n  count: {}\n", plan.stages.size());
  if (!machine.gpu.empty()) text += fmt::format("  gpu: {}\n", machine.gpu);
  text += fmt::format("  cpu: {:g}\n  memory: {:g}Gi\n", machine.cpus, machine.memory_gib);
  return text + "  " + file_line(stage_keys(), "min_instances", "0") + "  max_instances: 1\n";
}

std::string file_text(const InitOptions& options, const ChainPlan& plan) {
  const auto line = [](const char* key, const std::string& value) { return file_line(deployment_keys(), key, value); };
  return "# A deployment on Google Cloud Run. `commissure up` makes it so, `commissure down` takes it away.\n"
         "# Values may hold ${NAME} or ${NAME:-otherwise} of the environment; every key: docs/commissure-yaml.md.\n" +
         line("name", quoted(options.name)) + "project: " + quoted(options.project) +
         "\nregion: " + quoted(options.region) + "\n" +
         (options.budget > 0 ? line("budget", fmt::format("{:g}", options.budget)) : "") +
         "model: " + quoted(options.model) + "\n" + line("context", std::to_string(options.context)) +
         line("kv_dtype", options.kv_dtype) + stages_text(plan) + line("weights", "bucket") + line("access", "iam");
}

Result<int> write_file(InitOptions options) {
  if (std::filesystem::exists(options.file) && !options.force)
    return Error(Code::kAlreadyExists, options.file, " is there already; --force writes it anew");
  const std::string project = process_environment("GOOGLE_CLOUD_PROJECT").value_or("");
  options.project = ask(options, "Google Cloud project", options.project, project);
  if (options.project.empty())
    return Error(Code::kInvalidArgument, "no project: give --project or set GOOGLE_CLOUD_PROJECT");
  options.region = ask(options, "Region", options.region, "europe-west4");
  options.model = ask(options, "Model (name, file, folder or URL)", options.model, "smollm2-135m");
  if (options.budget == 0) options.budget = TRY(ask_budget(options));
  const Catalogue catalogue = TRY(parse_catalogue(built_in_catalogue()));
  const std::string text = file_text(options, TRY(choose_chain(options, catalogue)));
  // A file that `up` could not read is not written.
  const auto parsed = parse_cloud_file(text, "", process_environment);
  if (!parsed) return parsed.error();
  TRY(check_limits(parsed->spec, catalogue));
  std::ofstream file(options.file, std::ios::trunc);
  file << text;
  if (!file.flush()) return Error(Code::kUnavailable, "cannot write ", options.file);
  fmt::print("Wrote {}. Next: commissure up\n", options.file);
  if (const Status device = check_device(parsed->spec); !device) fmt::print("But {}.\n", device.error().message());
  return 0;
}

}  // namespace

CommandRun add_init(CLI::App& app) {
  auto options = std::make_shared<InitOptions>();
  app.add_option("-f,--file", options->file, "where to write")->capture_default_str();
  app.add_option("--name", options->name, "of the deployment")->capture_default_str();
  app.add_option("--project", options->project, "Google Cloud project; default: GOOGLE_CLOUD_PROJECT");
  app.add_option("--region", options->region, "default: europe-west4");
  app.add_option("--model", options->model, "as `commissure plan` takes it; default: smollm2-135m");
  app.add_option("--tok-s", options->tok_s, "tokens a second that a stream gets at least")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--budget", options->budget, "most USD an hour while all stages are up")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--context", options->context, "longest sequence")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  app.add_option("--kv-dtype,--kv-cache-dtype", options->kv_dtype, "keys and values as bf16 (auto) or int8")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
  app.add_flag("--yes", options->yes, "ask nothing, take the defaults");
  app.add_flag("--force", options->force, "overwrite the file");
  return [options]() -> Result<int> { return write_file(*options); };
}

}  // namespace commissure
