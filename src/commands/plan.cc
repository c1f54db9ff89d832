#include <fmt/format.h>

#include <fstream>
#include <memory>

#include "cloud/target.h"
#include "cloud/watch.h"
#include "cloud/work.h"
#include "commands/choice.h"
#include "commands/command.h"
#include "commands/outside.h"
#include "commands/quant_choice.h"
#include "plan/plan_making.h"
#include "plan/plan_plot.h"
#include "plan/plan_report.h"

namespace commissure {

namespace {

struct PlanCommand {
  PlanOptions plan;
  CloudChoice choice;
  std::string plot;
  bool as_json = false, dry_run = false, asks_quota = false;
};

Status write_plot(const std::string& path, const Planning& planning) {
  std::ofstream file(path, std::ios::trunc);
  file << plan_svg(planning);
  if (!file.flush()) return Error(Code::kUnavailable, "cannot write ", path);
  return {};
}

/// The commands of `up`, for those who look before they run it.
Result<int> print_commands(const PlanCommand& command) {
  CloudWorkOptions work;
  work.choice = command.choice;
  work.dry_run = true;
  work.as_json = command.as_json;
  return do_cloud_work(work, {.image = true, .weights = true, .services = true}, cloud_outside());
}

/// What the region allows, as Google tells it.
Status check_quota(const CloudFile& file) {
  const CloudSpec spec = names_of(file);
  TRY(check_cloud_quota(spec, cloud_outside()));
  std::fprintf(stderr, "The GPU quotas of %s hold all stages.\n", spec.region.c_str());
  return {};
}

Result<int> plan(PlanCommand command, bool file_is_named) {
  PlanOptions& options = command.plan;
  const bool use_file = file_is_named || options.model.empty();
  if (use_file && !has_deployment_file(command.choice)) {
    return Error(
        Code::kInvalidArgument, command.choice.file,
        " is not here: name a model, e.g. commissure plan smollm2-135m, or write the file with commissure init");
  }
  if (command.asks_quota && !use_file)
    return Error(Code::kInvalidArgument, "--quota is about a file's stages: leave the model out, or add --config");
  if (command.dry_run && !use_file)
    return Error(Code::kInvalidArgument,
                 "--dry-run shows the commands for a file: leave the model out, or add --config");
  if (command.dry_run) return print_commands(command);
  if (use_file) options.file = TRY(read_cloud_file(command.choice, process_environment));
  const auto made = make_plans(options);
  if (!made) return refuse(made.error(), options.quant, "plan");
  const Planning& planning = *made;
  if (!command.plot.empty()) TRY(write_plot(command.plot, planning));
  if (command.as_json) {
    fmt::print("{}\n", pretty_json(plans_json(planning)));
  } else {
    fmt::print("{}", plans_text(planning));
  }
  std::fflush(stdout);
  if (command.asks_quota) TRY(check_quota(*options.file));
  if (!planning.file || planning.file->problems.empty()) return 0;
  return Error(Code::kResourceExhausted, command.choice.file, ": ", planning.file->problems.front());
}

void add_wishes(CLI::App& app, PlanWish& wish) {
  wish.context = wish.streams = 0;
  app.add_option("--context", wish.context, "positions of one stream; default: the file's, or 8192")
      ->check(CLI::Range(16, 1 << 20));
  app.add_option("--streams", wish.streams, "at once, each with a full context; default: the file's, or 1")
      ->check(CLI::Range(1, 4096));
  app.add_option("--tok-s", wish.tokens_per_second, "tokens a second that each stream gets at least")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ttft", wish.first_token_seconds, "seconds to the first token of a prompt, warm and idle, at most")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--prompt", wish.prompt, "tokens of the prompt that --ttft is about")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--max-stages", wish.max_stages, "longest chain")->check(CLI::Range(1, kMaxStages));
}

}  // namespace

CommandRun add_plan(CLI::App& app) {
  auto command = std::make_shared<PlanCommand>();
  PlanOptions& options = command->plan;
  app.add_option("model", options.model, "known name, file, folder, URL, or a config.json; default: the file's");
  add_cloud_flags(app, command->choice);
  app.add_option("--region", options.region, "where to rent; default: the file's, or europe-west4");
  app.add_option("--weights", options.weights,
                 "plan the file's chain with Q8_0 or Q4_K_M instead of the model as it is");
  app.add_option("--kv-dtype,--kv-cache-dtype", options.kv_dtype,
                 "count keys and values as bf16 (auto) or int8; default: the file's, or auto")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
  app.add_option(
         "--quant", options.quant,
         "count float weights as stages hold them that quantise at load: none, int8 or nf4, with +head the head "
         "too; default: as the file says")
      ->check(quant_name_check());
  app.add_option("--machines", options.machines, "only these of the catalogue, e.g. l4,cpu-8")->delimiter(',');
  app.add_option("--device", options.device,
                 "alternatives of machines without a GPU (cpu), with one (cuda), or all: auto")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  app.add_option("--catalogue", options.catalogue, "prices and machines; default: the built-in deploy/catalogue.yaml");
  app.add_option("--layer-times", options.layer_times,
                 "what `bench --layers --out FILE` measured on one of the machines; once for each machine");
  add_wishes(app, options.wish);
  app.add_option("--plot", command->plot, "draw memory by stage and cost against load into this SVG file");
  app.add_flag("--dry-run", command->dry_run, "print every command that `up` would run for the file; run none");
  app.add_flag("--quota", command->asks_quota, "ask Google whether the region's GPU quotas hold the file's stages");
  app.add_flag("--json", command->as_json, "print JSON");
  return [command, &app] { return plan(*command, app.count("--file") > 0 || app.count("--deployment") > 0); };
}

}  // namespace commissure
