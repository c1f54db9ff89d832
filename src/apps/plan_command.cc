#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>

#include "apps/command.h"
#include "apps/model_footprint.h"
#include "core/json.h"
#include "deploy/hardware.h"
#include "deploy/planner.h"

namespace commissure {

namespace {

constexpr double kGiga = 1e9;
constexpr double kHoursPerMonth = 730;

struct PlanOptions {
  std::string model;
  std::string region = "europe-west4";
  std::vector<std::string> machines;
  std::string catalogue;
  PlanWish wish;
  bool as_json = false;
};

/// One row of the table of alternatives: the best chain of one kind of machine with one kind of weights.
struct Alternative {
  std::string machine;
  ChainPlan plan;
};

struct Planning {
  MeasuredModel model;
  Catalogue catalogue;
  std::vector<Alternative> found;    // cheapest first
  std::vector<std::string> refused;  // why others do not do
};

Result<Catalogue> read_catalogue(const std::string& path) {
  if (path.empty()) return parse_catalogue(built_in_catalogue());
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot read ", path);
  auto catalogue = parse_catalogue(std::string{std::istreambuf_iterator<char>(file), {}});
  if (!catalogue) return catalogue.error().within(path);
  return catalogue;
}

Result<std::vector<const Machine*>> choose_machines(const Catalogue& catalogue, const PlanOptions& options) {
  std::vector<const Machine*> chosen;
  std::string names;
  for (const Machine& machine : catalogue.machines) {
    names += (names.empty() ? "" : ", ") + machine.name;
    const bool is_wanted =
        options.machines.empty() || std::ranges::find(options.machines, machine.name) != options.machines.end();
    if (is_wanted && machine.is_in(options.region)) chosen.push_back(&machine);
  }
  for (const std::string& name : options.machines) {
    const auto known = std::ranges::find(catalogue.machines, name, &Machine::name);
    if (known == catalogue.machines.end()) {
      return Error(Code::kInvalidArgument, "the catalogue has no machine ", name, "; there are: ", names);
    }
    if (!known->is_in(options.region)) {
      return Error(Code::kInvalidArgument, name, " is not offered in ", options.region);
    }
  }
  return chosen;
}

/// The weights as they are and, when they are wider, as GGUF files of fewer bits would be.
std::vector<ModelFootprint> weight_choices(const ModelFootprint& model) {
  std::vector<ModelFootprint> choices = {model};
  double parameters = model.head_parameters, bytes = model.head_bytes;
  for (const LayerFootprint& layer : model.layers) {
    parameters += layer.parameters;
    bytes += layer.weight_bytes;
  }
  const double bits = 8 * bytes / parameters;
  if (bits > 9) choices.push_back(requantised(model, "Q8_0", 8.5));
  if (bits > 6) choices.push_back(requantised(model, "Q4_K_M", 4.9));
  return choices;
}

Result<Planning> make_plans(const PlanOptions& options) {
  Planning planning;
  planning.model = TRY(measure_model(options.model));
  planning.catalogue = TRY(read_catalogue(options.catalogue));
  const std::vector<const Machine*> machines = TRY(choose_machines(planning.catalogue, options));
  for (const ModelFootprint& weights : weight_choices(planning.model.footprint)) {
    const auto add = [&](const std::string& name, const std::vector<const Machine*>& of) {
      auto plan = plan_chain(weights, of, planning.catalogue, options.wish);
      if (plan) {
        planning.found.push_back({name, std::move(*plan)});
      } else {
        planning.refused.push_back(fmt::format("{} on {}: {}", weights.weights, name, plan.error().message()));
      }
    };
    for (const Machine* machine : machines) add(machine->name, {machine});
    auto mixed = plan_chain(weights, machines, planning.catalogue, options.wish);
    if (!mixed) continue;
    const auto is_other = [&](const PlannedStage& stage) { return stage.machine != mixed->stages.front().machine; };
    if (std::ranges::any_of(mixed->stages, is_other)) planning.found.push_back({"mixed", std::move(*mixed)});
  }
  std::ranges::stable_sort(planning.found, {}, [](const Alternative& a) { return a.plan.usd_per_hour; });
  if (planning.found.empty()) {
    return Error(Code::kNotFound, planning.refused.empty()
                                      ? "no machine of the catalogue is offered in " + options.region
                                      : planning.refused.front());
  }
  return planning;
}

/// The cheapest that keeps the weights as they are; else the cheapest.
const Alternative& choose(const Planning& planning) {
  const auto as_stored = std::ranges::find_if(planning.found, [&](const Alternative& alternative) {
    return alternative.plan.weights == planning.model.footprint.weights;
  });
  return as_stored == planning.found.end() ? planning.found.front() : *as_stored;
}

Json to_json(const ChainPlan& plan) {
  Json stages = Json::array();
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    stages.push_back({{"stage", std::string(1, static_cast<char>('a' + i))},
                      {"layers", {stage.layers.first, stage.layers.last}},
                      {"machine", stage.machine->name},
                      {"gpu", stage.machine->gpu},
                      {"weight_bytes", stage.weight_bytes},
                      {"kv_bytes", stage.kv_bytes},
                      {"scratch_bytes", stage.scratch_bytes},
                      {"usable_bytes", stage.machine->usable_bytes},
                      {"step_ms", 1000 * stage.step_seconds}});
  }
  return {{"weights", plan.weights},
          {"cuts", plan.cuts()},
          {"stages", stages},
          {"tokens_per_second_per_stream", plan.tokens_per_second},
          {"tokens_per_second_single_stream", plan.single_stream},
          {"cold_start_seconds", plan.cold_start_seconds},
          {"usd_per_hour", plan.usd_per_hour},
          {"usd_per_month_always_on", plan.usd_per_hour * kHoursPerMonth},
          {"usd_per_million_tokens", plan.usd_per_million}};
}

void print_stages(const ChainPlan& plan) {
  fmt::print("{:<6} {:<8} {:<13} {:>10} {:>8} {:>8} {:>8} {:>9}\n", "STAGE", "LAYERS", "MACHINE", "WEIGHTS", "KV",
             "ACTIV.", "FREE", "STEP");
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    const double free = stage.machine->usable_bytes - stage.weight_bytes - stage.kv_bytes - stage.scratch_bytes;
    fmt::print("{:<6} {:<8} {:<13} {:>7.2f} GB {:>5.2f} GB {:>5.2f} GB {:>5.2f} GB {:>6.1f} ms\n",
               static_cast<char>('a' + i), fmt::format("{}-{}", stage.layers.first, stage.layers.last - 1),
               stage.machine->name, stage.weight_bytes / kGiga, stage.kv_bytes / kGiga, stage.scratch_bytes / kGiga,
               free / kGiga, 1000 * stage.step_seconds);
  }
}

void print_alternatives(const Planning& planning, const PlanWish& wish) {
  fmt::print("\nAlternatives, {} stream{} of {} positions:\n{:<8} {:<22} {:>9} {:>11} {:>8} {:>9} {:>11} {:>10}\n",
             wish.streams, wish.streams == 1 ? "" : "s", wish.context, "WEIGHTS", "CHAIN", "TOK/S", "ALL TOK/S", "COLD",
             "USD/HOUR", "USD/MONTH*", "USD/M TOK");
  for (const auto& [machine, plan] : planning.found) {
    fmt::print("{:<8} {:<22} {:>9.1f} {:>11.1f} {:>6.0f} s {:>9.2f} {:>11.0f} {:>10.2f}\n", plan.weights,
               fmt::format("{} x {}", plan.stages.size(), machine), plan.tokens_per_second,
               plan.tokens_per_second * wish.streams, plan.cold_start_seconds, plan.usd_per_hour,
               plan.usd_per_hour * kHoursPerMonth, plan.usd_per_million);
  }
  for (const std::string& reason : planning.refused) fmt::print("  no: {}\n", reason);
}

void print(const Planning& planning, const PlanOptions& options) {
  const Alternative& best = choose(planning);
  const ModelFootprint& model = planning.model.footprint;
  fmt::print("{}, {} weights, {:.1f} GB, {} layers{}\n\n", model.name, model.weights, model.total_bytes() / kGiga,
             model.layers.size(), planning.model.is_estimate ? " (from config.json alone)" : "");
  print_stages(best.plan);
  std::string cuts;
  for (const int cut : best.plan.cuts()) cuts += (cuts.empty() ? "" : ", ") + std::to_string(cut);
  if (!cuts.empty()) fmt::print("\ncuts: [{}]\n", cuts);
  print_alternatives(planning, options.wish);
  fmt::print(
      "\n* always on; scaled to zero a chain costs nothing but {:.2f} USD a month for {:.1f} GB in the bucket.\n",
      model.total_bytes() / 1073741824.0 * planning.catalogue.usd_per_gib_month, model.total_bytes() / kGiga);
  if (best.plan.stages.size() > 1) {
    const auto whole = std::ranges::find_if(planning.found, [&](const Alternative& other) {
      return other.plan.stages.size() == 1 && other.plan.weights == best.plan.weights;
    });
    if (whole != planning.found.end() && whole->plan.usd_per_million < best.plan.usd_per_million) {
      fmt::print("Not splitting is cheaper per token here: one {} at {:.2f} USD per million.\n", whole->machine,
                 whole->plan.usd_per_million);
    }
  }
  fmt::print("Times are computed from the catalogue of {}, not measured; prices are list prices.\n",
             planning.catalogue.date);
  if (std::ranges::any_of(best.plan.stages, [](const PlannedStage& s) { return !s.machine->gpu.empty(); })) {
    fmt::print("This build computes on CPUs only: a GPU chain is a plan, not yet a deployment.\n");
  }
}

}  // namespace

CommandRun add_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  app.add_option("model", options->model, "known name, file, folder, URL, or the path of a config.json")->required();
  app.add_option("--region", options->region, "where to rent")->capture_default_str();
  app.add_option("--machines", options->machines, "only these of the catalogue, e.g. l4,cpu-8")->delimiter(',');
  app.add_option("--catalogue", options->catalogue, "prices and machines; default: the built-in deploy/catalogue.yaml");
  app.add_option("--context", options->wish.context, "positions of one stream")
      ->check(CLI::Range(16, 1 << 20))
      ->capture_default_str();
  app.add_option("--streams", options->wish.streams, "at once, each with a full context")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--tok-s", options->wish.tokens_per_second, "tokens a second that each stream gets at least")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-stages", options->wish.max_stages, "longest chain")->check(CLI::Range(1, kMaxStages));
  app.add_flag("--json", options->as_json, "print JSON");
  return [options]() -> Result<int> {
    const Planning planning = TRY(make_plans(*options));
    if (!options->as_json) {
      print(planning, *options);
      return 0;
    }
    Json alternatives = Json::array();
    for (const auto& [machine, plan] : planning.found) {
      Json entry = to_json(plan);
      entry["machine"] = machine;
      alternatives.push_back(std::move(entry));
    }
    fmt::print("{}\n", pretty_json({{"model", planning.model.footprint.name},
                                    {"is_estimate", planning.model.is_estimate},
                                    {"catalogue", planning.catalogue.date},
                                    {"plan", to_json(choose(planning).plan)},
                                    {"alternatives", alternatives},
                                    {"refused", planning.refused}}));
    return 0;
  };
}

}  // namespace commissure
